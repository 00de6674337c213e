//! Where everything stands, and golden pictures.

use super::*;

#[test]
fn everything_has_its_place_in_small_and_large_windows() {
    let mut harness = standard();
    open(&mut harness, &["coffee.png", "bag.png", "coat.png"]);
    for (size, scale, least) in [
        (SMALL, 1.0, 0.3),
        (vec2(3840.0, 2160.0), 1.0, 0.6),
        (vec2(1920.0, 1080.0), 2.0, 0.5),
        (vec2(640.0, 480.0), 1.0, 0.15),
    ] {
        harness.set_pixels_per_point(scale).step();
        harness.set_size(size);
        harness.run_steps(4);
        settle(&mut harness);
        let whole = Rect::from_min_size(pos2(0.0, 0.0), size);
        let rects = |role| harness.query_all_by_role(role).map(|node| node.rect()).collect::<Vec<_>>();
        let buttons = rects(Role::Button);
        assert!(buttons.len() > 20, "{size}: {} buttons", buttons.len());
        for (at, button) in buttons.iter().enumerate() {
            assert!(whole.contains_rect(*button), "{size}: {button}");
            let over = buttons[..at].iter().find(|other| other.shrink(1.0).intersects(button.shrink(1.0)));
            assert!(over.is_none(), "{size}: {button} lies over {over:?}");
        }
        // The picture and the maps take most of the window, whatever its size.
        let [shown, maps] = ["coffee.png: ", "conv1: 64 maps"].map(|name| {
            let nodes = harness.query_all_by(|node| {
                node.role() == Role::Image && node.label().is_some_and(|label| label.contains(name))
            });
            let rects: Vec<_> = nodes.map(|node| node.rect()).collect();
            assert!(rects.len() == 1 && whole.contains_rect(rects[0]), "{size}: {name} {rects:?}");
            rects[0]
        });
        let width = shown.width() / size.x;
        assert!((0.3..0.5).contains(&width), "{size}: the picture takes {width} of the width");
        let share = (shown.area() + maps.area()) / whole.area();
        assert!(share > least, "{size}: picture and maps take {share} of the window");
    }
}

#[test]
fn it_looks_as_it_should() {
    let mut results = egui_kittest::SnapshotResults::new();
    for (name, size, theme) in
        [("dark", SMALL, Theme::Dark), ("light", SMALL, Theme::Light), ("narrow", vec2(640.0, 480.0), Theme::Dark)]
    {
        let mut harness = window(size, theme, Settings::default());
        open(&mut harness, &["ankle-boot.png", "coffee.png"]);
        snapshot(&mut harness, name);
        results.extend_harness(&mut harness);
    }
    let mut harness = window(SMALL, Theme::Light, Settings::default());
    settle(&mut harness);
    snapshot(&mut harness, "welcome");
    results.extend_harness(&mut harness);
}

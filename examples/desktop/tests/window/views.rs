//! Keys, views, heat maps, comparison.

use super::*;

#[test]
fn keys_go_through_pictures_layers_and_views() {
    let mut harness = standard();
    open(&mut harness, &["ankle-boot.png", "bag.png"]);
    harness.key_press(Key::ArrowRight);
    settle(&mut harness);
    assert_eq!(best(&mut harness), "Bag");
    // There is nothing after the last.
    harness.key_press(Key::ArrowRight);
    settle(&mut harness);
    assert_eq!(best(&mut harness), "Bag");
    harness.key_press(Key::Delete);
    settle(&mut harness);
    assert_eq!(best(&mut harness), "Ankle boot");

    assert!(shows(&harness, "conv1: "));
    harness.key_press(Key::ArrowDown);
    settle(&mut harness);
    let second = harness.state_mut().app().settings().layer.clone();
    assert_ne!(second, "conv1");
    assert!(shows(&harness, &format!("{second}: ")));
    harness.key_press(Key::ArrowUp);
    settle(&mut harness);
    assert_eq!(harness.state_mut().app().settings().layer, "conv1");

    harness.key_press(Key::Num2);
    settle(&mut harness);
    assert!(shows(&harness, "filters of"));
    harness.key_press(Key::Num3);
    settle(&mut harness);
    assert_eq!(harness.state_mut().app().settings().view, View::Timing);
}

#[test]
fn arrows_and_space_show_one_map() {
    let mut harness = standard();
    open(&mut harness, &["ankle-boot.png"]);
    assert!(shows(&harness, "conv1: "));
    // The grid is called after its layer, as the line above it is.
    let focused =
        |harness: &Harness<'_, Window>| harness.query_all_by_label_contains("conv1: ").any(|grid| grid.is_focused());
    for _ in 0..60 {
        harness.key_press(Key::Tab);
        harness.run_steps(2);
        if focused(&harness) {
            break;
        }
    }
    assert!(focused(&harness), "nothing is to be reached");
    harness.key_press(Key::ArrowRight);
    harness.run_steps(2);
    harness.key_press(Key::ArrowRight);
    harness.run_steps(2);
    harness.key_press(Key::Space);
    harness.run_steps(4);
    assert!(shows(&harness, "conv1, map 2"));
    harness.key_press(Key::Escape);
    harness.run_steps(4);
    assert!(!shows(&harness, "conv1, map 2"));
}

#[test]
fn a_heat_map_comes_and_can_be_cancelled() {
    let mut harness = standard();
    open(&mut harness, &["ankle-boot.png"]);
    harness.get_by_label("Heat map").click();
    harness.run_steps(4);
    harness.get_by_label("Cancel").click();
    harness.run_steps(4);
    assert!(harness.query_by_label("Cancel").is_none());

    harness.key_press(Key::H);
    wait(&mut harness, "heat map", |app| app.heat_progress() == Some(1.0));
    assert!(harness.query_by_label("Cancel").is_none());
    // Another class has another one.
    harness.get_by_label_contains("Sneaker: ").click();
    harness.run_steps(4);
    settle(&mut harness);
    assert_eq!(harness.state_mut().app().heat_progress(), Some(1.0));
    snapshot(&mut harness, "heat");
    // By gradients.
    for method in ["Grad-CAM", "Guided gradients", "Integrated gradients"] {
        let shown = harness.state_mut().app().settings().method.name();
        harness.get_by_value(shown).click();
        harness.run_steps(4);
        harness.get_by_label(method).click();
        harness.run_steps(4);
        settle(&mut harness);
        let app = harness.state_mut().app();
        assert_eq!((app.settings().method.name(), app.heat_progress()), (method, Some(1.0)));
        assert!(app.messages().is_empty(), "{:?}", app.messages());
        if method == "Grad-CAM" {
            snapshot(&mut harness, "grad-cam");
        }
    }
}

#[test]
fn two_pictures_are_compared() {
    let mut harness = standard();
    open(&mut harness, &["coffee.png", "chelsea.png"]);
    let coffee = Picture::open(picture("coffee.png")).unwrap();
    let size = [coffee.width() as usize, coffee.height() as usize];
    let mut image = ColorImage::from_rgb(size, coffee.rgb());
    harness.event(Event::PasteImage(Arc::new(image.clone())));
    for row in 100..200 {
        image.pixels[row * size[0] + 200..][..100].fill(eframe::egui::Color32::BLACK);
    }
    harness.event(Event::PasteImage(Arc::new(image)));
    wait(&mut harness, "pasted pictures", |app| app.pictures().count() == 4);
    harness.key_press(Key::Home);
    harness.key_press(Key::Num4);
    settle(&mut harness);
    // The next picture of the same size is the same one.
    let comparison = harness.state_mut().app().comparison().unwrap().clone();
    assert_eq!((comparison.lpips, comparison.max_difference), (0.0, 0));
    assert!(shows(&harness, "LPIPS 0.0000") && shows(&harness, "map of distances"));
    assert!(shows(&harness, "left: coffee.png, right: pasted"));

    harness.key_press(Key::End);
    settle(&mut harness);
    let comparison = harness.state_mut().app().comparison().unwrap().clone();
    assert!(comparison.lpips > 0.01 && comparison.differing > 0.03, "{comparison:?}");
    assert!(shows(&harness, "left: pasted, right: coffee.png"));
    snapshot(&mut harness, "compare");

    // Another size is an answer, not a wait.
    harness.key_press(Key::Home);
    harness.key_press(Key::ArrowRight);
    settle(&mut harness);
    assert!(shows(&harness, "no other picture of this size"));
    harness.get_by_role(Role::ComboBox).click();
    harness.run_steps(3);
    harness.get_by_label("coffee.png · 600×400").click();
    harness.run_steps(3);
    settle(&mut harness);
    assert!(shows(&harness, "expected pictures of the same size, found 451×300 and 600×400"));
    assert_eq!(harness.state_mut().app().messages(), [""; 0]);
}

#[test]
fn the_strip_is_sorted_by_likeness() {
    let mut harness = standard();
    open(&mut harness, &["coffee.png", "trouser.png", "chelsea.png", "dress.png"]);
    harness.get_by_label("trouser.png").click_secondary();
    harness.run_steps(3);
    harness.get_by_label("Sort by likeness to this one").click();
    harness.run_steps(3);
    settle(&mut harness);
    let names: Vec<String> = harness.state_mut().app().pictures().map(String::from).collect();
    // A garment on black is more like another one than a photograph is.
    assert_eq!(names[..2], ["trouser.png", "dress.png"], "{names:?}");
    assert_eq!(harness.state_mut().app().messages(), [""; 0]);
}

#[test]
fn times_are_shown_where_there_are_timestamps() {
    let mut harness = window(SMALL, Theme::Dark, Settings { view: View::Timing, ..Settings::default() });
    open(&mut harness, &["ankle-boot.png"]);
    let timestamps = eframe::wgpu::Features::TIMESTAMP_QUERY;
    let expected =
        if harness.state().screen.device.features().contains(timestamps) { "conv1: " } else { "cannot time" };
    assert!(shows(&harness, expected));
}

#[test]
fn settings_come_back() {
    let before = Settings { view: View::Filters, layer: "conv3".into(), opacity: 0.4, ..Settings::default() };
    let mut harness = window(SMALL, Theme::Dark, before.clone());
    open(&mut harness, &["bag.png"]);
    assert_eq!(*harness.state_mut().app().settings(), before);
    assert!(shows(&harness, "filters of"));
    harness.key_press(Key::Num1);
    settle(&mut harness);
    assert!(shows(&harness, "conv3: "));
}

#[test]
fn a_map_is_shown_alone_and_left_again() {
    let mut harness = standard();
    open(&mut harness, &["ankle-boot.png"]);
    let maps = harness
        .get_all_by_label_contains("conv1: 64 maps")
        .map(|node| node.rect())
        .max_by(|a, b| a.area().total_cmp(&b.area()));
    let corner = maps.unwrap().min + vec2(8.0, 8.0);
    harness.hover_at(corner);
    harness.drag_at(corner);
    harness.drop_at(corner);
    harness.run_steps(4);
    assert!(harness.query_by_label("All").is_some());
    harness.event_modifiers(
        Event::Key { key: Key::Escape, physical_key: None, pressed: true, repeat: false, modifiers: Modifiers::NONE },
        Modifiers::NONE,
    );
    harness.run_steps(3);
    assert!(harness.query_by_label("All").is_none());
}

#[test]
fn layers_of_numbers_are_bars_with_labels() {
    let mut harness = window(SMALL, Theme::Dark, Settings { layer: "prob".into(), ..Settings::default() });
    open(&mut harness, &["ankle-boot.png"]);
    let probability = harness.state_mut().app().classes().unwrap()[0].probability;
    assert!(shows(&harness, "prob: 10 numbers") && shows(&harness, &format!("9 Ankle boot: {probability:.4}")));
    snapshot(&mut harness, "prob");

    // Many are a chart, whose bars are named where the pointer or the keyboard is.
    harness.key_press(Key::ArrowUp);
    harness.key_press(Key::ArrowUp);
    harness.key_press(Key::ArrowUp);
    settle(&mut harness);
    assert_eq!(harness.state_mut().app().settings().layer, "fc6");
    let rect = harness
        .get_by(|node| node.role() == Role::Image && node.label().is_some_and(|label| label == "fc6: 256 numbers"))
        .rect();
    harness.hover_at(rect.left_top() + vec2(40.0, 10.0));
    harness.run_steps(60);
    let named = harness.query_all_by_label_contains(": ").filter_map(|node| node.accesskit_node().value());
    let named = named.filter(|text| text.split(": ").all(|number| number.parse::<f32>().is_ok())).count();
    assert_eq!(named, 1);
    snapshot(&mut harness, "fc6");
}

#[test]
fn a_picture_is_enlarged_by_the_wheel() {
    let mut harness = standard();
    open(&mut harness, &["coffee.png", "chelsea.png"]);
    let middle = harness.get_by_label_contains("coffee.png: ").rect().center();
    harness.hover_at(middle);
    harness.run_steps(2);
    let before = harness.render().unwrap();
    harness.event(Event::MouseWheel {
        unit: eframe::egui::MouseWheelUnit::Line,
        source: eframe::egui::MouseWheelSource::Wheel,
        delta: vec2(0.0, 5.0),
        phase: eframe::egui::TouchPhase::Move,
        modifiers: Modifiers::NONE,
    });
    harness.run_steps(30);
    let differing = |harness: &mut Harness<'_, Window>| {
        let after = harness.render().unwrap();
        let pixels = before.enumerate_pixels().filter(|(x, y, _)| *x < 300 && (100..330).contains(y));
        pixels.filter(|(x, y, pixel)| after.get_pixel(*x, *y) != *pixel).count()
    };
    assert!(differing(&mut harness) > 10_000);
    // Another picture is shown whole, and so is the first one then.
    harness.key_press(Key::ArrowRight);
    settle(&mut harness);
    harness.key_press(Key::ArrowLeft);
    settle(&mut harness);
    assert_eq!(differing(&mut harness), 0);
}

#[test]
fn help_shows_the_keys_and_what_this_is() {
    let mut harness = standard();
    settle(&mut harness);
    harness.key_press(Key::F1);
    harness.run_steps(3);
    assert!(shows(&harness, "Bring removed pictures back"));
    harness.key_press(Key::F1);
    harness.run_steps(3);
    assert!(!shows(&harness, "Bring removed pictures back"));
    harness.get_by_label("Help").click();
    harness.run_steps(3);
    harness.get_by_label("About").click();
    harness.run_steps(3);
    let adapter = harness.state().screen.adapter.get_info().name;
    for text in [env!("CARGO_PKG_VERSION"), "MIT or Apache-2.0", adapter.as_str(), "4.9 M parameters"] {
        assert!(shows(&harness, text), "{text}");
    }
    harness.key_press(Key::Escape);
    harness.run_steps(3);
    assert!(!shows(&harness, "MIT or Apache-2.0"));
}

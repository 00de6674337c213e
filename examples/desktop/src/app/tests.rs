//! What fails behind the window is told in it.
#![allow(clippy::unwrap_used)]

use eframe::egui_wgpu::{RendererOptions, WgpuSetup};
use egui_kittest::{
    Harness,
    kittest::Queryable,
    wgpu::{create_render_state, default_wgpu_setup},
};

use super::{input::pasted_path, *};
use crate::export::{self, Export};

/// The samples in a window, classified.
fn window() -> Harness<'static, Option<App>> {
    let mut setup = default_wgpu_setup();
    if let WgpuSetup::CreateNew(new) = &mut setup {
        new.device_descriptor = Arc::new(crate::device_descriptor);
    }
    let screen = create_render_state(setup, RendererOptions::PREDICTABLE);
    let show = move |ui: &mut Ui, app: &mut Option<App>| {
        app.get_or_insert_with(|| App::new(ui.ctx(), screen.clone(), Settings::default()).unwrap()).ui(ui);
    };
    let mut harness = Harness::builder().with_size([800.0, 600.0]).build_ui_state(show, None);
    app(&mut harness).open_samples();
    rest(&mut harness, |app| app.entries.len() == pictures::SAMPLES.len());
    harness
}

fn app<'a>(harness: &'a mut Harness<'_, Option<App>>) -> &'a mut App {
    harness.state_mut().as_mut().unwrap()
}

fn rest(harness: &mut Harness<'_, Option<App>>, done: impl Fn(&App) -> bool) {
    let start = Instant::now();
    loop {
        harness.run_steps(2);
        let app = app(harness);
        if app.is_idle() && done(app) {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(120), "no rest; messages: {:?}", app.messages());
        thread::sleep(Duration::from_millis(5));
    }
    harness.run_steps(2);
}

fn shows(harness: &Harness<'_, Option<App>>, text: &str) -> bool {
    harness.query_all_by_label_contains(text).next().is_some()
}

#[test]
fn maps_that_failed_say_so_and_can_be_tried_again() {
    let mut harness = window();
    let (id, layer, contrast) = app(&mut harness).asked_maps.clone().unwrap();
    // What is not shown any more may fail in silence.
    app(&mut harness).take(Answer::Failed(Work::Maps(id, "prob".into(), contrast), "no such layer".into()));
    harness.run_steps(2);
    assert!(!shows(&harness, "no such layer"));
    app(&mut harness).take(Answer::Failed(Work::Maps(id, layer, contrast), "too large".into()));
    rest(&mut harness, |_| true);
    assert!(shows(&harness, "too large"));
    harness.get_by_label("Try again").click();
    rest(&mut harness, App::maps_are_new);
    assert!(!shows(&harness, "too large") && shows(&harness, "64 maps"));
}

#[test]
fn classes_that_failed_say_so_and_can_be_tried_again() {
    let mut harness = window();
    let this = app(&mut harness);
    let id = this.entries[0].id;
    this.entries[0].classes = Classes::Asked;
    this.classifying = vec![id];
    this.take(Answer::Failed(Work::Classes(id), "no memory".into()));
    rest(&mut harness, |app| app.messages() == ["ankle-boot.png: no memory"]);
    assert!(shows(&harness, "no memory") && shows(&harness, "Try again"));
    harness.get_by_label("Try again").click();
    rest(&mut harness, |app| app.classes().is_some());
}

#[test]
fn times_that_failed_are_not_taken_for_an_adapter_without_timestamps() {
    let mut harness = window();
    let this = app(&mut harness);
    this.settings.view = View::Timing;
    this.times = Times::Asked;
    this.take(Answer::Failed(Work::Times, "no memory".into()));
    rest(&mut harness, |_| true);
    assert!(shows(&harness, "no memory") && !shows(&harness, "cannot time"));
    harness.get_by_label("Try again").click();
    rest(&mut harness, |app| matches!(app.times, Times::Known(_)));
}

#[test]
fn a_heat_map_that_failed_is_no_longer_waited_for() {
    let mut harness = window();
    let this = app(&mut harness);
    let wanted = (this.entries[0].id, this.entries[0].class().unwrap(), this.settings.method);
    (this.heat, this.asked_heat) = (true, Some(wanted));
    this.take(Answer::Failed(Work::Heat(wanted.0, wanted.1, wanted.2), "no memory".into()));
    rest(&mut harness, |app| !app.heat && app.messages() == ["no heat map: no memory"]);
}

#[test]
fn a_load_that_broke_down_is_no_longer_waited_for_unless_another_one_is_on_its_way() {
    let mut harness = window();
    let this = app(&mut harness);
    (this.loading, this.load_id) = (Some("Loading x".into()), 7);
    this.take(Answer::Failed(Work::Load(6), "older: broken".into()));
    assert!(this.loading.is_some());
    this.take(Answer::Failed(Work::Load(7), "x: broken".into()));
    assert!(this.loading.is_none());
    rest(&mut harness, |app| app.messages().len() == 2 && app.classes().is_some());
}

#[test]
fn a_network_whose_adapter_is_lost_moves() {
    let mut harness = window();
    app(&mut harness).adapter_lost("This GPU");
    rest(&mut harness, |app| app.loaded.is_some() && app.classes().is_some());
    assert!(shows(&harness, "This GPU was lost"));
}

#[test]
fn pictures_beyond_the_bound_are_decoded_again_when_they_are_shown() {
    let mut harness = window();
    let all = app(&mut harness).decoded_bytes();
    let here = |app: &App| -> Vec<usize> {
        let entries = app.entries.iter().enumerate();
        entries.filter(|(_, entry)| entry.picture().is_some()).map(|(index, _)| index).collect()
    };
    app(&mut harness).set_picture_bytes(all / 2);
    rest(&mut harness, |_| true);
    assert_eq!(here(app(&mut harness)), [0, 4, 5], "the last three of the strip were needed last");
    assert!(app(&mut harness).decoded_bytes() <= all / 2);
    app(&mut harness).select(2);
    rest(&mut harness, |app| here(app).contains(&2));
    assert!(app(&mut harness).decoded_bytes() <= all / 2);

    // Other weights need all of them again, one after the other.
    app(&mut harness).set_picture_bytes(1);
    app(&mut harness).load(Source::Embedded, Adapter::Window);
    rest(&mut harness, |app| app.entries.iter().all(|entry| entry.known().is_some()));
    assert_eq!(here(app(&mut harness)), [2], "what is shown stays");
}

#[test]
fn a_picture_whose_file_is_gone_is_a_message_and_can_be_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("coat.png");
    std::fs::write(&file, pictures::SAMPLES[2].1).unwrap();
    let mut harness = window();
    app(&mut harness).open(file.clone());
    rest(&mut harness, |app| app.entries.len() == pictures::SAMPLES.len() + 1);
    app(&mut harness).select(0);
    app(&mut harness).set_picture_bytes(1);
    rest(&mut harness, |_| true);
    std::fs::remove_file(&file).unwrap();
    app(&mut harness).load(Source::Embedded, Adapter::Window);
    app(&mut harness).select(usize::MAX);
    rest(&mut harness, |app| app.messages().len() == 1);
    assert!(shows(&harness, "coat.png: ") && app(&mut harness).classes().is_none());
    std::fs::write(&file, pictures::SAMPLES[2].1).unwrap();
    harness.get_by_label("Try again").click();
    rest(&mut harness, |app| app.classes().is_some());
}

#[test]
fn file_uris_are_paths() {
    let path = |line| pasted_path(line).to_string_lossy().replace('\\', "/");
    assert_eq!(path("/home/me/a b.png"), "/home/me/a b.png");
    assert_eq!(path("100%25 wool.png"), "100%25 wool.png");
    let root = if cfg!(windows) { "" } else { "/" };
    assert_eq!(path("file:///home/me/a%20b%C3%A9.png"), format!("{root}home/me/a bé.png"));
    assert_eq!(path("file://localhost/a%2.png%"), format!("{root}a%2.png%"));
}

#[test]
fn removed_pictures_come_back_in_their_places() {
    let mut harness = window();
    let names = |app: &App| app.pictures().map(String::from).collect::<Vec<_>>();
    let all = names(app(&mut harness));
    app(&mut harness).select(2);
    for index in [2, 0] {
        app(&mut harness).remove(index);
    }
    rest(&mut harness, |app| app.entries.len() == all.len() - 2);
    app(&mut harness).remove_all();
    rest(&mut harness, |app| app.entries.is_empty());
    // Other weights answer anew.
    app(&mut harness).load(Source::ImageNet, Adapter::Window);
    rest(&mut harness, |app| app.loading.is_none());
    app(&mut harness).load(Source::Embedded, Adapter::Window);
    for _ in 0..3 {
        harness.key_press_modifiers(Modifiers::COMMAND, Key::Z);
        harness.run_steps(2);
    }
    rest(&mut harness, |app| app.entries.iter().all(|entry| entry.best().is_some()));
    assert_eq!(names(app(&mut harness)), all);
    assert_eq!(app(&mut harness).selected, 2);
    // There is nothing more to undo.
    harness.key_press_modifiers(Modifiers::COMMAND, Key::Z);
    rest(&mut harness, |app| app.entries.len() == all.len() && app.messages().is_empty());
}

#[test]
fn results_are_saved() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = window();
    let save = |app: &App, what| {
        let (name, contents) = app.contents(what).unwrap();
        export::write(&folder.path().join(&name), contents).unwrap();
        name
    };
    let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let size = |name: &str| {
        let picture = alexnet_wgpu::Picture::open(folder.path().join(name)).unwrap();
        (picture.width(), picture.height())
    };
    assert!(app(&mut harness).contents(Export::HeatMap).is_none());
    let name = save(app(&mut harness), Export::Classes);
    let classes = text(&name);
    let lines: Vec<&str> = classes.lines().collect();
    assert_eq!((name.as_str(), lines.len(), lines[0]), ("classes.csv", 31, "image,rank,index,label,probability"));
    assert!(lines[1].starts_with("ankle-boot.png,1,9,Ankle boot,0.99"), "{}", lines[1]);

    let name = save(app(&mut harness), Export::Layer);
    assert_eq!((name.as_str(), size(&name)), ("ankle-boot-conv1.png", (8 * 56, 8 * 56)));
    app(&mut harness).chosen_map = Some(8);
    let name = save(app(&mut harness), Export::Layer);
    assert_eq!((name.as_str(), size(&name)), ("ankle-boot-conv1-8.png", (56, 56)));

    app(&mut harness).settings.layer = "prob".into();
    app(&mut harness).settings.method = Method::GradCam;
    app(&mut harness).heat = true;
    rest(&mut harness, |app| app.heat_progress() == Some(1.0));
    let name = save(app(&mut harness), Export::Layer);
    let numbers = text(&name);
    assert_eq!((name.as_str(), numbers.lines().count()), ("ankle-boot-prob.csv", 11));
    assert!(numbers.contains("\n9,Ankle boot,0.99"), "{numbers}");
    let name = save(app(&mut harness), Export::HeatMap);
    assert_eq!((name.as_str(), size(&name)), ("ankle-boot-Ankle-boot.png", (448, 448)));

    // What cannot be written is said, and leaves nothing.
    let (_, contents) = app(&mut harness).contents(Export::Classes).unwrap();
    let refused = export::write(&folder.path().join("missing/classes.csv"), contents).unwrap_err();
    assert!(refused.contains("not saved"), "{refused}");
}

//! Other weights, and weights that do not load.

use super::*;

#[test]
fn weights_that_do_not_load_leave_the_model_there_was() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broken.safetensors");
    fs::write(&file, [0; 64]).unwrap();
    let mut harness = standard();
    open(&mut harness, &["ankle-boot.png"]);
    // As when it is dropped on the window.
    harness.state_mut().app().open(file);
    wait(&mut harness, "message", |app| !app.messages().is_empty());
    assert!(shows(&harness, "broken.safetensors"));
    settle(&mut harness);
    assert_eq!(best(&mut harness), "Ankle boot");
    assert_eq!(harness.state_mut().app().settings().source, Source::Embedded);
}

#[test]
fn remembered_weights_that_are_gone_give_way_to_the_embedded() {
    let source = Source::File("gone.safetensors".into());
    let mut harness = window(SMALL, Theme::Dark, Settings { source, ..Settings::default() });
    wait(&mut harness, "message", |app| !app.messages().is_empty());
    open(&mut harness, &["bag.png"]);
    assert_eq!(best(&mut harness), "Bag");
    assert_eq!(harness.state_mut().app().settings().source, Source::Embedded);
}

/// Whatever is wrong with what is asked for first, there is a network, and what is remembered stays if it can.
#[test]
fn there_is_always_a_network() {
    let folder = tempfile::tempdir().unwrap();
    let [broken, good] = ["broken.safetensors", "good.safetensors"].map(|name| folder.path().join(name));
    fs::write(&broken, [0; 64]).unwrap();
    alexnet_wgpu::Model::embedded().unwrap().to_weights().unwrap().save(&good).unwrap();
    let nowhere = Adapter::Other { name: "a card that was sold".into(), backend: "vulkan".into() };
    let good = Source::File(good);
    for (source, adapter) in [(Source::Embedded, Adapter::Window), (good.clone(), Adapter::Window), (good, nowhere)] {
        let settings = Settings { source: source.clone(), adapter, ..Settings::default() };
        let mut harness = window(SMALL, Theme::Dark, settings);
        // As when it is named on the command line.
        harness.state_mut().app().open(broken.clone());
        open(&mut harness, &["bag.png"]);
        assert_eq!(best(&mut harness), "Bag");
        assert!(shows(&harness, "broken.safetensors"));
        let kept = harness.state_mut().app().settings().clone();
        assert_eq!((kept.source, kept.adapter), (source, Adapter::Window));
    }
}

#[test]
fn weights_come_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.safetensors");
    let mut model = alexnet_wgpu::Model::embedded().unwrap();
    model.labels[9] = "Stiefelette".into();
    model.to_weights().unwrap().save(&file).unwrap();
    let mut harness = standard();
    open(&mut harness, &["ankle-boot.png"]);
    harness.state_mut().app().open(file.clone());
    settle(&mut harness);
    assert_eq!(best(&mut harness), "Stiefelette");
    assert_eq!(harness.state_mut().app().settings().source, Source::File(file));
}

#[test]
fn the_trunk_shows_maps_and_names_no_classes() {
    let mut harness = window(SMALL, Theme::Dark, Settings { source: Source::ImageNet, ..Settings::default() });
    open(&mut harness, &["coffee.png"]);
    assert!(shows(&harness, "names no classes") && shows(&harness, "conv1: 64 maps of 55×55"));
    harness.key_press(Key::Num2);
    settle(&mut harness);
    assert!(shows(&harness, "conv1: 64 filters of 11×11 pixels"));
    assert_eq!(harness.state_mut().app().messages(), [""; 0]);
}

#[test]
fn why_weights_did_not_load_is_gone_once_others_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broken.safetensors");
    fs::write(&file, [0; 64]).unwrap();
    let mut harness = standard();
    settle(&mut harness);
    harness.state_mut().app().open(file);
    wait(&mut harness, "message", |app| !app.messages().is_empty());
    // What is said of pictures stays.
    harness.state_mut().app().open(folder.path().join("gone.png"));
    wait(&mut harness, "message", |app| app.messages().len() == 2);
    harness.state_mut().app().load(Source::ImageNet, Adapter::Window);
    settle(&mut harness);
    let messages = harness.state_mut().app().messages();
    assert!(messages.len() == 1 && messages[0].starts_with("gone.png"), "{messages:?}");
}

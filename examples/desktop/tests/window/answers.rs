//! What is said of a picture's classes.

use eframe::egui::accesskit::Toggled;

use super::*;

#[test]
fn scores_are_not_shown_as_per_cent() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scores.safetensors");
    let mut model = alexnet_wgpu::Model::embedded().unwrap();
    model.network = model.network.up_to("fc8").unwrap();
    model.to_weights().unwrap().save(&file).unwrap();
    let mut harness = standard();
    harness.state_mut().app().load(Source::File(file), Adapter::Window);
    open(&mut harness, &["ankle-boot.png"]);
    assert_eq!(best(&mut harness), "Ankle boot");
    let score = harness.state_mut().app().classes().unwrap()[0].probability;
    assert!(score > 1.0 && shows(&harness, &format!("Ankle boot: {score:.3}")));
    // A score has no half to be below.
    assert!(!shows(&harness, " %") && !shows(&harness, "nsure"));
}

#[test]
fn an_answer_below_one_half_is_unsure_and_says_what_the_model_knows() {
    let mut harness = standard();
    open(&mut harness, &["ankle-boot.png"]);
    assert!(!shows(&harness, "Unsure"));
    assert!(shows(&harness, "This model knows 10 kinds of garment only."));
    harness.state_mut().app().open(picture("rocket.jpg"));
    wait(&mut harness, "second picture", |app| app.pictures().count() == 2);
    settle(&mut harness);
    let probability = harness.state_mut().app().classes().unwrap()[0].probability;
    assert!(probability < 0.5, "{probability}: this test needs a picture that the model is unsure of");
    assert!(shows(&harness, "Unsure: no class reaches 50 %. This model knows 10 kinds of garment only."));
    assert!(shows(&harness, "alexnet fetch torchvision"));
}

#[test]
fn the_samples_are_named_rightly() {
    let mut harness = standard();
    harness.run_steps(1);
    harness.state_mut().app().open_samples();
    wait(&mut harness, "samples", |app| app.pictures().count() == 6);
    settle(&mut harness);
    for expected in ["Ankle boot", "Bag", "Dress", "Sandal", "T-shirt/top", "Trouser"] {
        assert_eq!(best(&mut harness), expected);
        assert!(!shows(&harness, "Unsure"), "{expected}");
        harness.key_press(Key::ArrowRight);
        harness.run_steps(2);
    }
}

#[test]
fn a_click_on_a_class_shows_its_heat_map_and_marks_it() {
    let mut harness = standard();
    open(&mut harness, &["ankle-boot.png"]);
    let marked = |harness: &Harness<'_, Window>| -> Vec<String> {
        let rows = harness.query_all_by(|node| node.role() == Role::Button && node.toggled() == Some(Toggled::True));
        let labels = rows.filter_map(|node| node.accesskit_node().label()).map(|label| label.to_string());
        labels.filter(|label| label.contains(" %")).collect()
    };
    assert_eq!(marked(&harness), [""; 0]);
    assert_eq!(harness.state_mut().app().heat_progress(), None);
    harness.get_by_label_contains("Sneaker: ").click();
    wait(&mut harness, "heat map", |app| app.heat_progress() == Some(1.0));
    let marked = marked(&harness);
    assert!(marked.len() == 1 && marked[0].starts_with("Sneaker: "), "{marked:?}");
    assert!(shows(&harness, "Colours from Against the class to For the class"));
}

//! Pictures on their way in: files, drops, the clipboard.

use super::*;

#[test]
fn samples_are_classified() {
    let mut harness = standard();
    settle(&mut harness);
    harness.get_by_label("Try the samples").click();
    wait(&mut harness, "samples", |app| app.pictures().count() == 6);
    settle(&mut harness);
    assert_eq!(best(&mut harness), "Ankle boot");
    // A bar a class, with its percentage.
    assert!(shows(&harness, "Ankle boot: 100"));
    assert_eq!(harness.state_mut().app().classes().unwrap().len(), 5);
}

#[test]
fn tab_and_space_press_buttons() {
    let mut harness = standard();
    settle(&mut harness);
    let focused = |harness: &Harness<'_, Window>, label: &str| harness.get_by_label(label).is_focused();
    for _ in 0..20 {
        if focused(&harness, "Try the samples") {
            break;
        }
        harness.key_press(Key::Tab);
        harness.run_steps(2);
    }
    assert!(focused(&harness, "Try the samples"));
    harness.key_press(Key::Space);
    wait(&mut harness, "samples", |app| app.pictures().count() == 6);
}

#[test]
fn what_is_no_picture_is_a_message() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes.png");
    fs::write(&file, "these are notes").unwrap();
    let mut harness = standard();
    harness.state_mut().app().open(file);
    wait(&mut harness, "message", |app| !app.messages().is_empty());
    assert!(shows(&harness, "notes.png"));
    harness.get_by_label("Dismiss").click();
    harness.run_steps(3);
    assert!(harness.state_mut().app().messages().is_empty());
    assert!(!shows(&harness, "notes.png"));
}

#[test]
fn what_was_opened_last_is_shown() {
    let mut harness = standard();
    open(&mut harness, &["ankle-boot.png"]);
    harness.state_mut().app().open(picture("bag.png"));
    wait(&mut harness, "second picture", |app| app.pictures().count() == 2);
    settle(&mut harness);
    assert_eq!(best(&mut harness), "Bag");
}

/// What never ends is not waited for.
#[cfg(unix)]
#[test]
fn a_device_is_no_picture() {
    let mut harness = standard();
    harness.state_mut().app().open("/dev/zero".into());
    harness.state_mut().app().open(picture("bag.png"));
    wait(&mut harness, "picture", |app| app.pictures().count() == 1);
    let messages = harness.state_mut().app().messages();
    assert!(messages.len() == 1 && messages[0].starts_with("zero: expected a picture"), "{messages:?}");
}

#[test]
fn pasted_pixels_and_paths_are_opened() {
    let mut harness = standard();
    settle(&mut harness);
    let grey = eframe::egui::Color32::from_gray(90);
    harness.event(Event::PasteImage(Arc::new(ColorImage::filled([40, 30], grey))));
    wait(&mut harness, "pasted picture", |app| app.pictures().count() == 1);
    harness.event(Event::Paste(picture("bag.png").display().to_string()));
    wait(&mut harness, "pasted path", |app| app.pictures().count() == 2);
    settle(&mut harness);
    assert_eq!(harness.state_mut().app().pictures().collect::<Vec<_>>(), ["pasted", "bag.png"]);
    // File managers copy URIs.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a coat é.png");
    fs::copy(picture("coat.png"), &file).unwrap();
    let uri = file.display().to_string().replace('\\', "/").replace(' ', "%20").replace('é', "%C3%A9");
    let slash = if cfg!(windows) { "/" } else { "" };
    harness.event(Event::Paste(format!("file://{slash}{uri}\r\n")));
    wait(&mut harness, "pasted URI", |app| app.pictures().last() == Some("a coat é.png"));
    settle(&mut harness);
    harness.event(Event::Paste("just words".into()));
    wait(&mut harness, "message", |app| !app.messages().is_empty());
}

/// With an empty clipboard all that comes of Ctrl+V is that V is let go.
#[test]
fn nothing_to_paste_is_said_once() {
    let mut harness = standard();
    settle(&mut harness);
    let v =
        |pressed| Event::Key { key: Key::V, physical_key: None, pressed, repeat: false, modifiers: Modifiers::NONE };
    harness.event(v(true));
    harness.event(v(false));
    harness.event(Event::Paste(picture("bag.png").display().to_string()));
    harness.event(v(false));
    wait(&mut harness, "pasted path", |app| app.pictures().count() == 1);
    settle(&mut harness);
    assert_eq!(harness.state_mut().app().messages().len(), 0);
    let mut harness = standard();
    settle(&mut harness);
    harness.event(v(false));
    wait(&mut harness, "message", |app| app.messages().len() == 1);
}

#[derive(Debug)]
struct Dropped(PathBuf);

impl eframe::egui::DroppedFile for Dropped {
    fn path(&self) -> &Path {
        &self.0
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        fs::read(&self.0).map_err(|e| e.to_string())
    }
}

#[test]
fn dropped_files_are_opened() {
    let mut harness = standard();
    settle(&mut harness);
    harness.input_mut().dropped_files.push(Arc::new(Dropped(picture("coat.png"))));
    wait(&mut harness, "dropped picture", |app| app.pictures().count() == 1);
    settle(&mut harness);
    assert_eq!(harness.state_mut().app().pictures().collect::<Vec<_>>(), ["coat.png"]);
}

#[test]
fn a_hundred_files_at_once_are_opened_but_for_the_broken_one() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.png");
    fs::write(&broken, [0x89, b'P', b'N', b'G', 13, 10, 26, 10, 0, 0, 0]).unwrap();
    let mut harness = standard();
    settle(&mut harness);
    for at in 0..100 {
        let file = folder.path().join(format!("{at:03}.png"));
        let name = match at {
            // Large ones, which take longer than a frame.
            10..90 => "coffee.png",
            _ if at % 2 == 0 => "bag.png",
            _ => "coat.png",
        };
        fs::copy(picture(name), &file).unwrap();
        harness.input_mut().dropped_files.push(Arc::new(Dropped(file)));
        if at == 50 {
            harness.input_mut().dropped_files.push(Arc::new(Dropped(broken.clone())));
        }
    }
    harness.step();
    assert!(shows(&harness, "Opening ") && shows(&harness, " of 101"));
    wait(&mut harness, "dropped pictures", |app| app.pictures().count() == 100 && !app.messages().is_empty());
    settle(&mut harness);
    let messages = harness.state_mut().app().messages();
    assert!(messages.len() == 1 && messages[0].starts_with("broken.png: "), "{messages:?}");
    assert_eq!(best(&mut harness), "Bag");
    // The last one is seen in the strip, and then the first again.
    let inside = |harness: &Harness<'_, Window>, name| {
        harness.ctx.content_rect().contains_rect(harness.get_by_label(name).rect())
    };
    let ends = [(Key::End, "099.png", "000.png", "100 of 100"), (Key::Home, "000.png", "099.png", "1 of 100")];
    for (key, seen, unseen, position) in ends {
        harness.key_press(key);
        settle(&mut harness);
        assert!(shows(&harness, &format!("{seen} · 28×28 · {position}")));
        // It gets there smoothly.
        harness.run_steps(60);
        assert!(inside(&harness, seen) && !inside(&harness, unseen), "{seen}");
    }
}

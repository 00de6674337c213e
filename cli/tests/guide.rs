//! The guide, docs/guide/src: its commands run as they stand, print what it shows, and its links lead somewhere.
//!
//! Each line of a block `sh` is a command of a shell, and must end with 0, or as its comment says (`# exits with 1`). A block
//! `text` right after it is what it prints, except for numbers; a last line `…` stands for the rest. UPDATE_SNAPSHOTS=1 writes
//! these blocks anew. A block `sh,ignore` does not run.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::{
    collections::BTreeSet,
    env,
    fmt::Write as _,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use alexnet_snapshots::write_png;
use alexnet_wgpu::{AlexNet, Family, KernelConfig, Precision, Storage, plan};
use common::{Folder, Output, shielded};

macro_rules! chapters {
    ($($name:ident)*) => {
        const CHAPTERS: &[&str] = &[$(stringify!($name)),*];
        $(#[test] fn $name() { runs(stringify!($name)); })*
    };
}
chapters! { first weights frame compare train inside browser many alexnet kernels }

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn source(name: &str) -> PathBuf {
    repository().join("docs/guide/src").join(name)
}

fn chapter(name: &str) -> String {
    fs::read_to_string(source(&format!("{name}.md"))).unwrap()
}

/// A block of code: where its lines are, and what stands behind the opening fence.
struct Block<'a> {
    start: usize,
    end: usize,
    info: &'a str,
    lines: Vec<&'a str>,
}

/// The blocks of a chapter, and its lines outside them.
fn blocks(text: &str) -> (Vec<Block<'_>>, Vec<&str>) {
    let (mut blocks, mut rest, mut open) = (Vec::new(), Vec::new(), None::<Block<'_>>);
    for (at, line) in text.lines().enumerate() {
        match (open.take(), line.strip_prefix("```")) {
            (None, None) => rest.push(line),
            (None, Some(info)) => open = Some(Block { start: at + 1, end: at + 1, info, lines: vec![] }),
            (Some(block), Some(_)) => blocks.push(Block { end: at, ..block }),
            (Some(mut block), None) => {
                block.lines.push(line);
                open = Some(block);
            }
        }
    }
    assert!(open.is_none(), "a block is not closed");
    (blocks, rest)
}

/// The commands of a block: no comments, and continued lines as one.
fn commands(block: &Block<'_>) -> Vec<String> {
    let whole = block.lines.join("\n").replace("\\\n", " ");
    let lines = whole.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(String::from).collect()
}

/// What the guide's commands find: the repository's pictures and test files, and the reader's own.
fn clone() -> Folder {
    let folder = Folder::new();
    for part in ["examples", "tests"] {
        symlink(repository().join(part), folder.path(part)).unwrap();
    }
    fs::create_dir_all(folder.path("photos/trips")).unwrap();
    for (from, to) in [("bag.png", "bag.png"), ("sneaker.png", "trips/sneaker.png"), ("rocket.jpg", "trips/rocket.jpg")]
    {
        fs::copy(repository().join("examples/pictures").join(from), folder.path("photos").join(to)).unwrap();
    }
    // Two classes of patterns, and two pairs of renders, of which one is broken.
    for i in 0..10 {
        draw(&folder, &format!("pictures/stripes/{i}.png"), |x, _| if (x + i) % 8 < 4 { 220 } else { 30 });
        draw(
            &folder,
            &format!("pictures/squares/{i}.png"),
            |x, y| if (x + i) / 16 % 2 == y / 16 % 2 { 200 } else { 50 },
        );
    }
    let lines = |x: u32, y: u32| if x % 16 < 2 || y % 24 < 3 { 30 } else { 220 };
    let is_inside = |x: u32, y: u32| (32..64).contains(&x) && (32..64).contains(&y);
    for name in ["golden/menu.png", "renders/menu.png", "golden/map.png"] {
        draw(&folder, name, lines);
    }
    draw(&folder, "renders/map.png", |x, y| if is_inside(x, y) { 128 } else { lines(x, y) });
    draw(&folder, "mask.png", |x, y| if is_inside(x, y) { 0 } else { 255 });
    folder.file("labels.txt", (0..10).map(|i| format!("label {i}\n")).collect::<String>());
    folder
}

/// A picture in grey.
fn draw(folder: &Folder, name: &str, level: impl Fn(u32, u32) -> u8) {
    const SIDE: u32 = 96;
    let path = folder.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let rgb: Vec<u8> = (0..SIDE * SIDE).flat_map(|i| [level(i % SIDE, i / SIDE); 3]).collect();
    write_png(&rgb, [SIDE, SIDE], &mut fs::File::create(path).unwrap()).unwrap();
}

fn runs(name: &str) {
    let text = chapter(name);
    let (blocks, _) = blocks(&text);
    let folder = clone();
    let bin = Path::new(env!("CARGO_BIN_EXE_alexnet")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), env::var("PATH").unwrap());
    let mut lines: Vec<String> = text.lines().map(String::from).collect();
    let (mut ran, mut left_out, mut shift) = (0, 0, 0);
    for (i, block) in blocks.iter().enumerate() {
        match block.info {
            "sh" => {}
            "sh,ignore" => {
                left_out += commands(block).len();
                continue;
            }
            // What is JavaScript is checked by web/test/run.sh, and SQL by integrations/datafusion/tests.
            "js" | "sql" | "rust" | "rust,no_run" | "text" | "json" | "yaml" | "toml" | "wgsl" => continue,
            other => panic!("{name}.md:{}: expected another language than {other:?}", block.start),
        }
        let mut printed = String::new();
        for line in commands(block) {
            let code = line.split_once("# exits with ").map_or(0, |(_, code)| code.trim().parse().unwrap());
            let mut command = shielded(Command::new("sh"));
            command.args(["-c", &line]).env("PATH", &path).current_dir(folder.path("")).stdin(Stdio::null());
            let output = Output::of(&mut command);
            assert_eq!(output.code, Some(code), "{name}.md:{}: {line}\n{output:?}", block.start);
            assert!(!output.stderr.contains("panicked"), "{output:?}");
            printed += &output.stdout;
            ran += 1;
        }
        let Some(shown) = blocks.get(i + 1).filter(|next| next.info == "text" && next.start <= block.end + 3) else {
            continue;
        };
        let more = shown.lines.last() == Some(&"…");
        let expected = &shown.lines[..shown.lines.len() - usize::from(more)];
        let mut found: Vec<&str> = printed.trim_end().lines().map(str::trim_end).collect();
        if more {
            found.truncate(expected.len());
        }
        let is_same = expected.len() == found.len() && expected.iter().zip(&found).all(|(a, b)| masked(a) == masked(b));
        if env::var_os("UPDATE_SNAPSHOTS").is_some() {
            let at = |line: usize| line.checked_add_signed(shift).unwrap();
            let (from, to) = (at(shown.start), at(shown.end - usize::from(more)));
            shift += found.len() as isize - expected.len() as isize;
            lines.splice(from..to, found.iter().map(ToString::to_string));
        } else {
            assert!(is_same, "{name}.md:{}: UPDATE_SNAPSHOTS=1 writes it anew. It prints\n{printed}", shown.start);
        }
    }
    if env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(source(&format!("{name}.md")), lines.join("\n") + "\n").unwrap();
    }
    println!("{name}: {ran} commands ran, {left_out} are marked as not to run");
}

/// A line without its numbers, which differ between adapters and models.
fn masked(line: &str) -> String {
    let word = |word: &str| {
        let number = word.trim_end_matches([',', ';', ':', ')', '%']);
        let is_number = number.replace(',', "").parse::<f64>().is_ok();
        if is_number { format!("#{}", &word[number.len()..]) } else { word.into() }
    };
    line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

/// The help of a command, as another test compares it.
fn help(command: &str) -> Option<String> {
    fs::read_to_string(repository().join(format!("cli/tests/data/help/{command}.txt"))).ok()
}

/// The options among words, `--name=value` too.
fn options(words: &str) -> impl Iterator<Item = &str> {
    let ends = |c: char| !(c.is_ascii_alphanumeric() || c == '-');
    words.split_whitespace().filter(|word| word.starts_with("--")).map(move |word| word.split(ends).next().unwrap())
}

fn has(help: &str, option: &str) -> bool {
    // An option of the feature `parquet`.
    if option == "--column" {
        return true;
    }
    help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).any(|word| word == option)
}

#[test]
fn every_option_exists() {
    let all: String = fs::read_dir(repository().join("cli/tests/data/help"))
        .unwrap()
        .map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    let mut checked = 0;
    for name in CHAPTERS {
        let text = chapter(name);
        let (blocks, prose) = blocks(&text);
        let mut spans: Vec<String> = blocks.iter().filter(|b| b.info.starts_with("sh")).flat_map(commands).collect();
        let prose = prose.join("\n");
        spans.extend(prose.split('`').skip(1).step_by(2).map(|span| span.replace('\n', " ")));
        for span in spans {
            // The last of a pipe, or the only one.
            let span =
                span.split(['|', '#']).map(str::trim).rfind(|part| part.starts_with("alexnet ")).unwrap_or(&span);
            let Some(words) = span.strip_prefix("alexnet ") else {
                if span.starts_with("--") {
                    checked += 1;
                    assert!(options(span).all(|option| has(&all, option)), "{name}: {span}");
                }
                continue;
            };
            let command = words.split_whitespace().next().unwrap();
            if command == "help" {
                continue;
            }
            let help = help(command).unwrap_or_else(|| panic!("{name}: there is no command {command}"));
            checked += 1;
            let unknown: Vec<&str> = options(words).filter(|option| !has(&help, option)).collect();
            assert!(unknown.is_empty(), "{name}: {span}: {unknown:?}");
        }
    }
    assert!(checked > 20, "{checked}");
}

/// What `[…](…)` names.
fn links(text: &str) -> Vec<String> {
    let (_, prose) = blocks(text);
    let prose = prose.join("\n");
    prose.split("](").skip(1).map(|rest| rest.split(')').next().unwrap().to_string()).collect()
}

#[test]
fn links_lead_somewhere() {
    const ONLINE: &str = "https://github.com/alexnet-wgpu/alexnet-wgpu/";
    let summary = fs::read_to_string(source("SUMMARY.md")).unwrap();
    let listed = links(&summary);
    assert_eq!(listed, CHAPTERS.iter().map(|name| format!("{name}.md")).collect::<Vec<_>>());
    let mut pictures = BTreeSet::new();
    for name in CHAPTERS {
        for link in links(&chapter(name)) {
            let place = match link.strip_prefix(ONLINE) {
                Some(rest) => {
                    let path =
                        ["blob/main/", "tree/main/", "raw/main/"].iter().find_map(|kind| rest.strip_prefix(kind));
                    repository().join(path.unwrap_or_else(|| panic!("{name}: {link}")))
                }
                None if link.starts_with("http") => continue,
                None => source(&link),
            };
            let place = place.to_str().unwrap().split('#').next().unwrap();
            assert!(Path::new(place).exists(), "{name}: {link}");
            pictures.extend(link.strip_prefix("pictures/").map(String::from));
        }
    }
    // Every picture is shown, and all together are small.
    let mut bytes = 0;
    for file in fs::read_dir(source("pictures")).unwrap().map(Result::unwrap) {
        let name = file.file_name().into_string().unwrap();
        assert!(name.ends_with(".md") || pictures.contains(&name), "{name} is in no chapter");
        bytes += file.metadata().unwrap().len();
    }
    assert!(bytes < 600_000, "the pictures have {bytes} bytes");
}

#[test]
fn every_program_is_a_doctest() {
    let of = |path: &str| fs::read_to_string(repository().join(path)).unwrap();
    let doctests = of("src/lib.rs") + &of("snapshots/src/lib.rs");
    for name in CHAPTERS {
        let text = chapter(name);
        let (blocks, _) = blocks(&text);
        let programs = blocks.iter().filter(|block| block.info.starts_with("rust")).count();
        assert!(programs == 0 || doctests.contains(&format!("docs/guide/src/{name}.md")), "{name}");
    }
}

/// Quoted shaders are in shaders/, and the workflow gives inputs that action.yml has.
#[test]
fn quotations_are_true() {
    let folder = fs::read_dir(repository().join("shaders")).unwrap();
    let shaders: Vec<String> = folder.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    let action = fs::read_to_string(repository().join("action.yml")).unwrap();
    for name in CHAPTERS {
        let text = chapter(name);
        for block in blocks(&text).0 {
            let quoted = block.lines.join("\n") + "\n";
            match block.info {
                "wgsl" => assert!(shaders.iter().any(|shader| shader.contains(&quoted)), "{name}: {quoted}"),
                "yaml" => {
                    let (_, inputs) = quoted.split_once("with:\n").unwrap();
                    for input in inputs.lines().map(|line| line.trim().split(':').next().unwrap()) {
                        assert!(action.contains(&format!("\n  {input}:\n")), "{name}: {input}");
                    }
                }
                _ => {}
            }
        }
    }
}

/// The list of dispatches in the chapter on kernels.
#[test]
fn the_dispatches_are_planned() {
    let network = AlexNet::UNGROUPED.network().unwrap();
    let config = KernelConfig::new(Family::WorkgroupTiled, Storage::StorageBuffer);
    let mut expected = String::new();
    for dispatch in plan(&network, 1, config, Precision::F32).unwrap() {
        writeln!(expected, "{:5} {:47} {:?}", dispatch.layer, dispatch.kernel, dispatch.workgroups).unwrap();
    }
    assert!(chapter("kernels").contains(&expected), "the dispatches are\n{expected}");
}

/// The two tables of the chapter on AlexNet.
#[test]
fn the_tables_are_the_networks() {
    let text = chapter("alexnet");
    let networks = [AlexNet::PAPER, AlexNet::UNGROUPED, AlexNet::CAFFE, AlexNet::TORCHVISION];
    let networks = networks.map(|alexnet| alexnet.network().unwrap());
    // The paper's layers, and those that only others have.
    let mut names = vec!["input"];
    for layer in networks[0].layers() {
        names.extend((layer.name == "drop5").then_some("avgpool"));
        names.push(&layer.name);
        names.extend((layer.name == "fc7").then_some("drop7"));
    }
    let mut expected = String::new();
    for name in &names {
        write!(expected, "| {name} |").unwrap();
        for network in &networks {
            let dims = match network.layer(name) {
                _ if *name == "input" => network.input().to_string(),
                Ok(layer) => layer.output_dims().iter().map(ToString::to_string).collect::<Vec<_>>().join("×"),
                Err(_) => "–".into(),
            };
            write!(expected, " {dims} |").unwrap();
        }
        expected.push('\n');
    }
    assert!(text.contains(&expected), "the table of shapes should be\n{expected}");

    let mut expected = String::new();
    let network = &networks[0];
    let grouped = |n: u64| {
        let digits = n.to_string();
        let from_end = |i: usize| (digits.len() - i).is_multiple_of(3) && i > 0;
        digits.char_indices().flat_map(|(i, c)| from_end(i).then_some(',').into_iter().chain([c])).collect::<String>()
    };
    for layer in network.layers().iter().filter(|layer| layer.multiply_adds() > 0) {
        let weights = layer.parameters().next().unwrap().1;
        let shape = weights.iter().map(ToString::to_string).collect::<Vec<_>>().join("×");
        let parameters: u64 = layer.parameters().map(|(_, shape)| shape.iter().product::<usize>() as u64).sum();
        let (name, multiply_adds) = (&layer.name, grouped(layer.multiply_adds()));
        writeln!(expected, "| {name} | {shape} | {} | {multiply_adds} |", grouped(parameters)).unwrap();
    }
    writeln!(expected, "| all | | {} | {} |", grouped(network.parameter_count()), grouped(network.multiply_adds()))
        .unwrap();
    assert!(text.contains(&expected), "the table of parameters should be\n{expected}");
}

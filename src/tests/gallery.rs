//! `docs/gallery/README.md` has a picture and two sentences for each bug of `docs/bugs.md`, in its order.

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Those of the first column.
fn bugs() -> Vec<String> {
    let text = read("docs/bugs.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    rows.map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn each_bug_has_a_picture_and_two_sentences() {
    let page = read("docs/gallery/README.md");
    let sections: Vec<_> = page.split("\n## ").skip(1).collect();
    let headings: Vec<_> = sections.iter().map(|section| section.lines().next().unwrap()).collect();
    let bugs = bugs();
    assert!(bugs.len() >= 50, "{}", bugs.len());
    assert_eq!(headings, bugs, "the sections are the rows of docs/bugs.md");
    for (name, section) in bugs.iter().zip(sections) {
        assert!(
            section.ends_with(&format!("\n\n![{name}]({name}.svg)\n"))
                || section.ends_with(&format!("\n\n![{name}]({name}.svg)")),
            "{name}"
        );
        // Whose bug it is, in italics; then what happens, and what ends it.
        let text: Vec<_> =
            section.lines().skip(1).take_while(|line| !line.starts_with("![")).collect();
        let (_, text) = text
            .join(" ")
            .trim()
            .strip_prefix('*')
            .and_then(|text| {
                text.split_once(".* ").map(|(whose, text)| (whose.to_owned(), text.to_owned()))
            })
            .expect(name);
        let ends = text.matches(". ").count() + usize::from(text.ends_with('.'));
        assert_eq!(ends, 2, "{name}: {text}");
        assert!(text.contains(". Here "), "{name}: {text}");
        let svg = read(&format!("docs/gallery/{name}.svg"));
        assert!(svg.starts_with("<svg ") && svg.contains(&format!("historical::{name}")), "{name}");
    }
}

/// A name of two controls would have one picture.
#[test]
fn controls_have_names_of_their_own() {
    let mut names: Vec<_> = super::tidy::rust_files("loom_tests")
        .iter()
        .flat_map(|path| {
            let text = fs::read_to_string(path).unwrap();
            let named = text
                .split("Control::new(")
                .skip(1)
                .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split_once('"'));
            named.map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
        })
        .collect();
    names.sort();
    let twice: Vec<_> =
        names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| &pair[0]).collect();
    assert!(names.len() > 100 && twice.is_empty(), "{twice:?} of {}", names.len());
}

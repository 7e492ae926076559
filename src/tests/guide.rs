//! `docs/checking-your-handler.md` shows what stands in `examples/checked_handler`.

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

const GUIDE: &str = "docs/checking-your-handler.md";

/// Each block that names a file is a part of that file.
#[test]
fn its_blocks_are_of_the_example() {
    let guide = read(GUIDE);
    let blocks: Vec<_> = guide.split("<!-- ").skip(1).collect();
    assert!(blocks.len() >= 7, "{}", blocks.len());
    for block in blocks {
        let (path, rest) = block.split_once(" -->\n```").unwrap();
        let (_, rest) = rest.split_once('\n').unwrap();
        let (block, _) = rest.split_once("```").unwrap();
        assert!(read(path).contains(block), "{path} is without\n{block}");
    }
}

/// Each step of the lanes that names a line of the example is on that line.
#[test]
fn its_lanes_are_of_the_example() {
    let guide = read(GUIDE);
    let (_, lanes) = guide.split_once("```text\n step").unwrap();
    let (lanes, _) = lanes.split_once("```").unwrap();
    let mut steps = 0;
    for row in lanes.lines().skip(1) {
        let mut columns = row.split('|').map(str::trim);
        let place = columns.next().and_then(|numbered| numbered.split_whitespace().nth(1)).unwrap();
        let (file, line) = place.split_once(':').unwrap();
        let step = columns.find(|column| !column.is_empty()).unwrap();
        let operation = step.split_whitespace().next().unwrap();
        if ["<", ">", "thread"].contains(&operation) {
            continue;
        }
        let text = read(&format!("examples/checked_handler/src/{file}"));
        let line = text.lines().nth(line.parse::<usize>().unwrap() - 1).unwrap();
        assert!(line.contains(operation), "{row}\n{line}");
        steps += 1;
    }
    assert!(steps > 10, "{steps}");
}

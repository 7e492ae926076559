//! The parts of an SVG.

use core::fmt::{Display, Write};

/// An SVG under way.
#[derive(Default)]
pub(super) struct Svg(String);

impl Svg {
    /// One more element, or a part of one.
    pub(super) fn add(&mut self, element: impl Display) {
        writeln!(self.0, "{element}").expect("a string takes any text");
    }

    /// Words that begin at `x` on the base line `y`.
    pub(super) fn text(&mut self, class: &str, x: usize, y: usize, words: &str) {
        let words = escaped(words);
        self.add(format_args!("<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{words}</text>"));
    }

    pub(super) fn dot(&mut self, class: &str, x: usize, y: usize) {
        self.add(format_args!("<circle class=\"{class}\" cx=\"{x}\" cy=\"{y}\" r=\"3\"/>"));
    }

    pub(super) fn path(&mut self, class: &str, path: &str) {
        if !path.is_empty() {
            self.add(format_args!("<path class=\"{class}\" d=\"{path}\"/>"));
        }
    }

    /// All of it, in a frame of this size.
    pub(super) fn page(self, title: &str, width: usize, height: usize) -> String {
        let (title, parts) = (escaped(title), self.0);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
             <rect class=\"page\" width=\"{width}\" height=\"{height}\"/>\n{parts}</svg>\n"
        )
    }
}

/// As XML has it.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML has no other control characters.
            c if c.is_control() && c != '\n' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

const STYLE: &str = "
text{font:11px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#1f2328;white-space:pre}
.page{fill:#fff}
.title{font-size:13px;font-weight:bold}
.thread{font-size:12px;font-weight:bold}
.step,.place,.more,.key{fill:#656d76}
.place,.step{font-size:10px}
.more{font-style:italic}
.life{stroke:#8c959f;stroke-width:2}
.sleep{stroke:#8c959f;stroke-width:2;stroke-dasharray:2 4}
.dot{fill:#57606a}
.in{fill:#ddb32026;stroke:#bf8700}
.bad{fill:#cf222e}
.badtext,.claim{fill:#cf222e;font-weight:bold}
.box{fill:#ff818226;stroke:#cf222e;stroke-width:1.5}
.edge{fill:none;stroke-width:1.5}
.read,.guess{stroke:#0969da}.read.tip,.guess.tip{fill:#0969da}
.guess{stroke-dasharray:1 3}
.life.edge{stroke:#1a7f37}.life.tip{fill:#1a7f37}
.lock{stroke:#1b7c83}.lock.tip{fill:#1b7c83}
.wake{stroke:#bc4c00;stroke-dasharray:5 2}.wake.tip{fill:#bc4c00}
.signal{stroke:#8250df;stroke-dasharray:5 2}.signal.tip{fill:#8250df}
.ask{stroke:#bf3989;stroke-dasharray:5 2}.ask.tip{fill:#bf3989}
.tip{stroke:none}
@media(prefers-color-scheme:dark){
text{fill:#e6edf3}.page{fill:#0d1117}.step,.place,.more,.key{fill:#8d96a0}
.life,.sleep{stroke:#6e7681}.dot{fill:#8d96a0}.in{fill:#bb800926;stroke:#d29922}
.bad{fill:#f85149}.badtext,.claim{fill:#ff7b72}.box{fill:#f8514926;stroke:#f85149}
.read,.guess{stroke:#4493f8}.read.tip,.guess.tip{fill:#4493f8}
.life.edge{stroke:#3fb950}.life.tip{fill:#3fb950}
.lock{stroke:#39c5cf}.lock.tip{fill:#39c5cf}
.wake{stroke:#f0883e}.wake.tip{fill:#f0883e}
.signal{stroke:#ab7df8}.signal.tip{fill:#ab7df8}
.ask{stroke:#db61a2}.ask.tip{fill:#db61a2}
.tip{stroke:none}}
";

//! Mutants of a block's statements: one dropped, two neighbours swapped.
//!
//! A swap is written by guards, so that mutants may be nested in it: the first statement is left out and
//! comes again behind the second, or the second comes before the first and is left out where it was.

use crate::find::Finder;
use crate::mutant::{Edit, Kind};
use std::ops::Range;

/// What may be done with a statement.
enum Role {
    /// Of no value: it may be left out, or come elsewhere.
    Step,
    /// `let`: its value may be made earlier.
    Let { init: Range<usize>, names: Vec<String> },
    /// The block's value.
    Value,
    /// Neither.
    Other,
}

pub fn of_block(finder: &mut Finder<'_>, block: &syn::Block) {
    let unit = finder.unit_body == Some(finder.range(block));
    let last = block.stmts.len().saturating_sub(1);
    let stmts: Vec<_> = block
        .stmts
        .iter()
        .enumerate()
        .map(|(at, stmt)| (role(finder, stmt, at == last, unit), finder.range(stmt)))
        .collect();
    for (stmt, (role, range)) in block.stmts.iter().zip(&stmts) {
        let dropped = matches!(role, Role::Step)
            || matches!(stmt, syn::Stmt::Local(it) if matches!(it.pat, syn::Pat::Wild(_)) && it.init.is_some());
        if dropped && acts(&finder.text[range.clone()]) {
            let what = format!("dropped: {}", shown(&finder.text[range.clone()]));
            let edit = Edit::around(range.clone(), "if !crate::mutants::on($) { ", " }");
            finder.add(Kind::Drop, range.start, what, vec![edit]);
        }
    }
    for pair in stmts.windows(2) {
        swap(finder, &pair[0], &pair[1]);
    }
}

fn role(finder: &Finder<'_>, stmt: &syn::Stmt, last: bool, unit: bool) -> Role {
    use syn::Expr::{Break, Continue, Macro, Return};
    match stmt {
        syn::Stmt::Expr(Break(_) | Continue(_) | Return(_) | Macro(_), _) => Role::Other,
        syn::Stmt::Expr(expr, _) if has_attributes(finder.raw(expr)) => Role::Other,
        syn::Stmt::Expr(_, Some(_)) => Role::Step,
        syn::Stmt::Expr(_, None) if !last || unit => Role::Step,
        syn::Stmt::Expr(_, None) => Role::Value,
        syn::Stmt::Local(local) if local.attrs.is_empty() => match &local.init {
            Some(init) if init.diverge.is_none() => Role::Let {
                init: finder.range(&*init.expr),
                names: words(finder.raw(&local.pat)).map(str::to_owned).collect(),
            },
            _ => Role::Other,
        },
        _ => Role::Other,
    }
}

fn swap(finder: &mut Finder<'_>, first: &(Role, Range<usize>), second: &(Role, Range<usize>)) {
    let (a, b) = (first.1.clone(), second.1.clone());
    let (a_text, b_text) = (finder.text[a.clone()].to_owned(), finder.text[b.clone()].to_owned());
    if !acts(&a_text) || !acts(&b_text) {
        return;
    }
    let uses = |text: &str, names: &[String]| {
        names.iter().any(|name| words(text).any(|word| word == name))
    };
    let guard =
        |range: &Range<usize>| Edit::around(range.clone(), "if !crate::mutants::on($) { ", " }");
    let edits = match (&first.0, &second.0) {
        (Role::Step, Role::Step) => {
            let again = format!(" if crate::mutants::on($) {{ {a_text} }}");
            vec![guard(&a), Edit::outside(b.clone(), "", &again)]
        }
        (Role::Step, Role::Let { names, .. }) if !uses(&a_text, names) => {
            let again = format!(" if crate::mutants::on($) {{ {a_text} }}");
            vec![guard(&a), Edit::outside(b.clone(), "", &again)]
        }
        (Role::Let { names, .. }, Role::Step) if !uses(&b_text, names) => {
            let before = format!("if crate::mutants::on($) {{ {b_text} }} ");
            vec![Edit::outside(a.clone(), &before, ""), guard(&b)]
        }
        (Role::Let { names, .. }, Role::Let { init, .. }) if !uses(&b_text, names) => {
            earlier(finder, &a, init)
        }
        (Role::Let { names, .. }, Role::Value) if !uses(&b_text, names) => earlier(finder, &a, &b),
        (Role::Step, Role::Value) => earlier(finder, &a, &b),
        _ => return,
    };
    let what = format!("swapped: {} / {}", shown(&a_text), shown(&b_text));
    finder.add(Kind::Swap, a.start, what, edits);
}

/// The value made before the statement at `before`.
fn earlier(finder: &Finder<'_>, before: &Range<usize>, value: &Range<usize>) -> Vec<Edit> {
    let text = &finder.text[value.clone()];
    let made = format!(
        "let made_before_$ = if crate::mutants::on($) {{ Some({{ {text} }}) }} else {{ None }}; "
    );
    vec![
        Edit::outside(before.clone(), &made, ""),
        Edit::outside(
            value.clone(),
            "match made_before_$ { Some(value) => value, None => { ",
            " } }",
        ),
    ]
}

/// It calls or changes something.
fn acts(text: &str) -> bool {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.clone().any(|line| line.contains('(') || line.contains(" = ") || line.contains("= "))
}

fn has_attributes(text: &str) -> bool {
    text.trim_start().starts_with('#')
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The beginning of a statement, for the reader, without comments.
fn shown(text: &str) -> String {
    let code: Vec<_> = text.lines().map(|line| line.split("//").next().unwrap().trim()).collect();
    let code = code.join(" ");
    let code = code.split_whitespace().collect::<Vec<_>>().join(" ");
    match code.char_indices().nth(90) {
        Some((at, _)) => format!("{} ...", &code[..at]),
        None => code,
    }
}

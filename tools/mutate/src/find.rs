//! Finds mutants: reads a source file and says what may be changed, and how to write the change so that it
//! is chosen when the program runs.

use crate::mutant::{Edit, Kind, Mutant, Operation, Source};
use crate::orders;
use crate::steps;
use std::ops::Range;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// Every mutant and every atomic operation of a file.
pub fn find(file: &str, text: &str) -> Source {
    let parsed = syn::parse_file(text).unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut finder = Finder {
        text,
        function: Vec::new(),
        latest: String::new(),
        unit_body: None,
        found: Source { file: file.to_owned(), text: text.to_owned(), ..Source::default() },
    };
    finder.visit_file(&parsed);
    finder.found
}

pub struct Finder<'a> {
    pub text: &'a str,
    function: Vec<(String, Range<usize>)>,
    /// The function that began last, as the test of docs/orderings.md tells.
    latest: String,
    /// The body of the function at hand, if it returns nothing: its last expression may be dropped.
    pub unit_body: Option<Range<usize>>,
    pub found: Source,
}

impl Finder<'_> {
    pub fn range(&self, node: &impl Spanned) -> Range<usize> {
        node.span().byte_range()
    }

    pub fn raw(&self, node: &impl Spanned) -> &str {
        &self.text[self.range(node)]
    }

    pub fn line(&self, at: usize) -> usize {
        self.text[..at].matches('\n').count() + 1
    }

    /// Takes a mutant in; `$` in its edits stands for its number.
    pub fn add(&mut self, kind: Kind, at: usize, what: String, edits: Vec<Edit>) {
        let Some((function, body)) = self.function.last().cloned() else { return };
        self.found.mutants.push(Mutant {
            kind,
            file: self.found.file.clone(),
            function,
            body: crate::mutant::hash(&self.text[body]),
            line: self.line(at),
            what: what.split_whitespace().collect::<Vec<_>>().join(" "),
            edits,
            ..Mutant::default()
        });
    }

    fn enter(
        &mut self,
        attrs: &[syn::Attribute],
        vis: bool,
        sig: &syn::Signature,
        block: &syn::Block,
    ) {
        // A public const fn may be called in constants; what is said to people has no part in a protocol.
        let left_out = for_tests(attrs) || sig.ident == "fmt" || (vis && sig.constness.is_some());
        if left_out {
            return;
        }
        if let Some(word) = &sig.constness {
            self.found.always.push(Edit::around(self.range(word), "/*", "*/"));
        }
        let unit = matches!(sig.output, syn::ReturnType::Default).then(|| self.range(block));
        let outer = std::mem::replace(&mut self.unit_body, unit);
        self.latest = sig.ident.to_string();
        self.function.push((sig.ident.to_string(), self.range(block)));
        self.visit_block(block);
        self.function.pop();
        self.unit_body = outer;
    }

    /// A condition, the other way round.
    fn negate(&mut self, cond: &syn::Expr) {
        if has_let(cond) || matches!(cond, syn::Expr::Lit(_) | syn::Expr::Macro(_)) {
            return;
        }
        let range = self.range(cond);
        let what = format!("negated: {}", &self.text[range.clone()]);
        let edit = Edit::around(range.clone(), "(crate::mutants::on($) ^ (", "))");
        self.add(Kind::Condition, range.start, what, vec![edit]);
    }

    /// A flag of a word, left out.
    fn drop_flag(&mut self, operand: &syn::Expr, whole: &syn::Expr) {
        let mut inner = operand;
        loop {
            match inner {
                syn::Expr::Paren(it) => inner = &it.expr,
                syn::Expr::Unary(it) => inner = &it.expr,
                _ => break,
            }
        }
        let syn::Expr::Path(path) = inner else { return };
        let name = path.path.segments.last().map(|it| it.ident.to_string()).unwrap_or_default();
        if !name.chars().all(|c| c.is_ascii_uppercase() || c == '_') {
            return;
        }
        let range = self.range(path);
        let what = format!("{name} left out of: {}", self.raw(whole));
        let edit = Edit::around(range.clone(), "crate::mutants::bits($, ", ")");
        self.add(Kind::Flag, range.start, what, vec![edit]);
    }

    /// One operand of `&&` or `||`, without effect.
    fn drop_clause(&mut self, operand: &syn::Expr, and: bool) {
        if has_let(operand) {
            return;
        }
        let range = self.range(operand);
        let what = format!("without the clause: {}", &self.text[range.clone()]);
        let open = if and { "(crate::mutants::on($) || (" } else { "(!crate::mutants::on($) && (" };
        self.add(Kind::Condition, range.start, what, vec![Edit::around(range, open, "))")]);
    }

    fn operation(
        &mut self,
        name: &str,
        args: &syn::punctuated::Punctuated<syn::Expr, syn::Token![,]>,
        whole: Range<usize>,
    ) {
        let given: Vec<_> =
            args.iter().filter_map(|arg| Some((arg, orders::named(arg)?))).collect();
        if self.function.is_empty() || given.is_empty() || !orders::is_operation(name) {
            return;
        }
        let first = self.found.mutants.len();
        self.found.operations.push(Operation {
            function: self.latest.clone(),
            name: name.to_owned(),
            orders: given.iter().map(|(_, order)| *order).collect::<Vec<_>>().join(", "),
            mutants: Vec::new(),
        });
        for (which, (arg, order)) in given.iter().enumerate() {
            for weaker in orders::weaker(name, which, order) {
                let range = self.range(*arg);
                let of = if which == 1 { "on failure " } else { "" };
                let what = format!("{of}{order} to {weaker}: {}", &self.text[whole.clone()]);
                let close = format!(", core::sync::atomic::Ordering::{weaker})");
                let edit = Edit::around(range.clone(), "crate::mutants::order($, ", &close);
                self.add(Kind::Ordering, range.start, what, vec![edit]);
            }
        }
        let made = first..self.found.mutants.len();
        self.found.operations.last_mut().unwrap().mutants = made.collect();
    }

    /// `fetch_or(0, ..)`: a read-modify-write that only looks, made a load.
    fn look(&mut self, call: &syn::ExprMethodCall) {
        let looks =
            call.method == "fetch_or" && call.args.first().is_some_and(|arg| self.raw(arg) == "0");
        let Some(order) = call.args.last().and_then(orders::named).filter(|_| looks) else {
            return;
        };
        let range = self.range(call);
        let weaker = if matches!(order, "Acquire" | "AcqRel") { "Acquire" } else { "Relaxed" };
        let receiver = self.raw(&*call.receiver);
        let open = format!(
            "(if crate::mutants::on($) {{ {receiver}.load(core::sync::atomic::Ordering::{weaker}) }} else {{ "
        );
        let what = format!("a load instead of: {}", &self.text[range.clone()]);
        let edit = Edit::around(range.clone(), &open, " })");
        let index = self.found.mutants.len();
        self.add(Kind::Ordering, range.start, what, vec![edit]);
        if self.found.mutants.len() > index {
            self.found.operations.last_mut().unwrap().mutants.push(index);
        }
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_fn(&mut self, it: &'ast syn::ItemFn) {
        self.enter(&it.attrs, matches!(it.vis, syn::Visibility::Public(_)), &it.sig, &it.block);
    }
    fn visit_impl_item_fn(&mut self, it: &'ast syn::ImplItemFn) {
        self.enter(&it.attrs, matches!(it.vis, syn::Visibility::Public(_)), &it.sig, &it.block);
    }
    fn visit_trait_item_fn(&mut self, it: &'ast syn::TraitItemFn) {
        if let Some(block) = &it.default {
            self.enter(&it.attrs, true, &it.sig, block);
        }
    }
    fn visit_item_mod(&mut self, it: &'ast syn::ItemMod) {
        if !for_tests(&it.attrs) {
            visit::visit_item_mod(self, it);
        }
    }
    fn visit_item_impl(&mut self, it: &'ast syn::ItemImpl) {
        if !for_tests(&it.attrs) {
            visit::visit_item_impl(self, it);
        }
    }
    fn visit_item_const(&mut self, _: &'ast syn::ItemConst) {}
    fn visit_item_static(&mut self, _: &'ast syn::ItemStatic) {}
    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {}
    fn visit_trait_item_const(&mut self, _: &'ast syn::TraitItemConst) {}
    fn visit_expr_const(&mut self, _: &'ast syn::ExprConst) {}
    fn visit_expr_repeat(&mut self, _: &'ast syn::ExprRepeat) {}
    fn visit_type(&mut self, _: &'ast syn::Type) {}

    fn visit_block(&mut self, it: &'ast syn::Block) {
        steps::of_block(self, it);
        visit::visit_block(self, it);
    }
    fn visit_expr_if(&mut self, it: &'ast syn::ExprIf) {
        self.negate(&it.cond);
        visit::visit_expr_if(self, it);
    }
    fn visit_expr_while(&mut self, it: &'ast syn::ExprWhile) {
        self.negate(&it.cond);
        visit::visit_expr_while(self, it);
    }
    fn visit_arm(&mut self, it: &'ast syn::Arm) {
        if let Some((_, guard)) = &it.guard {
            self.negate(guard);
        }
        visit::visit_arm(self, it);
    }
    fn visit_expr_binary(&mut self, it: &'ast syn::ExprBinary) {
        use syn::BinOp::*;
        let whole = syn::Expr::Binary(it.clone());
        match it.op {
            BitAnd(_) | BitOr(_) | BitXor(_) | Add(_) | Sub(_) | BitAndAssign(_)
            | BitOrAssign(_) => {
                self.drop_flag(&it.left, &whole);
                self.drop_flag(&it.right, &whole);
            }
            And(_) | Or(_) => {
                let and = matches!(it.op, And(_));
                self.drop_clause(&it.left, and);
                self.drop_clause(&it.right, and);
            }
            _ => {}
        }
        visit::visit_expr_binary(self, it);
    }
    fn visit_expr_method_call(&mut self, it: &'ast syn::ExprMethodCall) {
        self.operation(&it.method.to_string(), &it.args, self.range(it));
        self.look(it);
        visit::visit_expr_method_call(self, it);
    }
    fn visit_expr_call(&mut self, it: &'ast syn::ExprCall) {
        let name = self.raw(&*it.func).rsplit("::").next().unwrap_or_default().to_owned();
        self.operation(&name, &it.args, self.range(it));
        visit::visit_expr_call(self, it);
    }
}

/// `#[cfg(test)]`, or one for what is not a model of this crate.
fn for_tests(attrs: &[syn::Attribute]) -> bool {
    attrs.iter().any(|attr| {
        let syn::Meta::List(list) = &attr.meta else { return false };
        let said = list.tokens.to_string();
        attr.path().is_ident("cfg") && (said == "test" || said.starts_with("all (test"))
    })
}

fn has_let(expr: &syn::Expr) -> bool {
    struct Look(bool);
    impl<'ast> Visit<'ast> for Look {
        fn visit_expr_let(&mut self, _: &'ast syn::ExprLet) {
            self.0 = true;
        }
    }
    let mut look = Look(false);
    look.visit_expr(expr);
    look.0
}

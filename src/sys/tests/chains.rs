//! Our handlers among those of others, in every order in which they come and go, against a process in which each of
//! ours knows for ever what it was put over. Nobody is asked in between: for that there are the models.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use proptest::prelude::*;

use crate::sys::handlers::{Handlers, Restore, Table};
use crate::sys::record::{Disposition, LEVELS, Own};
use crate::sys::{Errno, Restored, Verdict};

const DEFAULT: usize = libc::SIG_DFL;
/// Who was there before us.
const BASE: usize = 10;
/// The neighbours that come and go.
const NEIGHBOURS: usize = 20;
/// Ours: of the shipped handlers by level, of the plain ones by number.
const OURS: usize = 30;

const SIGNAL: i32 = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Install,
    Restore,
    Come(usize),
    Leave(usize),
    /// Who is there puts its handler over ours, and forgets what it had found.
    Again(usize),
}

/// Who was told of a signal, in order; ours is `OURS`. Ends with `DEFAULT` where the process ended.
type Told = Vec<usize>;

/// What others do, the same in both processes.
#[derive(Default)]
struct Others {
    in_force: Cell<usize>,
    found: [Cell<Option<usize>>; 3],
}

impl Others {
    fn come(&self, who: usize) {
        self.found[who].set(Some(self.in_force.replace(NEIGHBOURS + who)));
    }
    fn leave(&self, who: usize) {
        self.in_force.set(self.found[who].take().unwrap());
    }
}

/// The shipped handlers.
struct World {
    others: Others,
    own: Own,
    told: RefCell<Told>,
    again: Cell<bool>,
    handlers: RefCell<Option<Rc<Handlers<Rc<World>>>>>,
    wanted: Cell<bool>,
}

impl Table for Rc<World> {
    type Given = ();
    type Found = usize;
    fn query(&self, _: i32) -> Result<usize, Errno> {
        Ok(self.others.in_force.get())
    }
    fn put_ours(&self, _: i32, level: usize, _: &Disposition) -> Result<usize, Errno> {
        Ok(self.others.in_force.replace(OURS + level))
    }
    fn action(&self, found: &usize) -> usize {
        *found
    }
    fn ours(&self, level: usize) -> usize {
        OURS + level
    }
    fn disposition(&self, found: &usize) -> Disposition {
        Disposition::simple(*found)
    }
    unsafe fn call(&self, it: &Disposition, _: i32, (): ()) {
        self.enter(it.action);
    }
    fn context(&self, (): ()) -> usize {
        0
    }
    fn own<R>(&self, look: impl FnOnce(&Own) -> R) -> R {
        look(&self.own)
    }
}

impl Restore for Rc<World> {
    unsafe fn put(&self, _: i32, new: &Disposition) -> Result<usize, Errno> {
        Ok(self.others.in_force.replace(new.action))
    }
    fn acts_by_default(&self, _: i32) -> bool {
        true
    }
    fn redeliver(&self, _: i32, (): ()) {
        self.again.set(true);
    }
}

impl World {
    fn new(before: usize) -> Rc<Self> {
        let world = Rc::new(Self {
            others: Others::default(),
            own: Own::new(),
            told: RefCell::default(),
            again: Cell::new(false),
            handlers: RefCell::new(None),
            wanted: Cell::new(false),
        });
        world.others.in_force.set(before);
        *world.handlers.borrow_mut() = Some(Rc::new(Handlers::new(Rc::clone(&world))));
        world
    }

    fn handlers(&self) -> Rc<Handlers<Rc<World>>> {
        Rc::clone(self.handlers.borrow().as_ref().unwrap())
    }

    fn apply(&self, step: Step) -> Option<Restored> {
        match step {
            Step::Install => {
                self.wanted.set(true);
                self.handlers().install(SIGNAL).unwrap();
            }
            Step::Restore => {
                self.wanted.set(false);
                return Some(self.handlers().restore(SIGNAL).unwrap());
            }
            Step::Come(who) | Step::Again(who) => self.others.come(who),
            Step::Leave(who) => self.others.leave(who),
        }
        None
    }

    /// The system, or a handler, calls this one.
    fn enter(&self, action: usize) {
        let told = self.told.borrow().clone();
        assert!(told.len() < 20, "they call each other for ever: {told:?}");
        match action {
            DEFAULT => {}
            OURS.. => self.handlers().handle(SIGNAL, action - OURS, (), || {
                self.told.borrow_mut().push(OURS);
                if self.wanted.get() { Verdict::Handled } else { Verdict::Unwanted }
            }),
            other => {
                self.told.borrow_mut().push(other);
                let found =
                    other.checked_sub(NEIGHBOURS).and_then(|who| self.others.found[who].get());
                self.enter(found.unwrap_or(DEFAULT));
            }
        }
    }

    fn signal(&self) -> Told {
        for _ in 0..3 {
            let in_force = self.others.in_force.get();
            self.enter(in_force);
            if in_force == DEFAULT {
                self.told.borrow_mut().push(DEFAULT);
            }
            if !self.again.take() {
                return self.told.take();
            }
        }
        panic!("it is sent again for ever");
    }
}

/// Each of ours is another.
struct Plain {
    others: Others,
    below: RefCell<Vec<usize>>,
    wanted: Cell<bool>,
}

impl Plain {
    fn apply(&self, step: Step) -> Option<Restored> {
        let in_force = self.others.in_force.get();
        match step {
            Step::Install => {
                self.wanted.set(true);
                if in_force < OURS {
                    self.below.borrow_mut().push(in_force);
                    self.others.in_force.set(OURS + self.below.borrow().len() - 1);
                }
            }
            Step::Restore => {
                self.wanted.set(false);
                if in_force < OURS {
                    return Some(Restored::Foreign);
                }
                self.others.in_force.set(self.below.borrow()[in_force - OURS]);
                return Some(Restored::Previous);
            }
            Step::Come(who) | Step::Again(who) => self.others.come(who),
            Step::Leave(who) => self.others.leave(who),
        }
        None
    }

    /// From who is in force to the one that calls nobody, or one of those before.
    fn chain(&self) -> Vec<usize> {
        let mut chain = Vec::new();
        let mut at = self.others.in_force.get();
        while at != DEFAULT && !chain.contains(&at) {
            chain.push(at);
            at = match at {
                OURS.. => self.below.borrow()[at - OURS],
                BASE => DEFAULT,
                _ => self.others.found[at - NEIGHBOURS].get().unwrap_or(DEFAULT),
            };
        }
        chain
    }

    fn signal(&self) -> Told {
        let mut told = Told::new();
        for who in self.chain() {
            let who = who.min(OURS);
            if !told.contains(&who) {
                told.push(who);
            }
        }
        let ours_alone = told == [OURS] && !self.wanted.get();
        if told.is_empty() || ours_alone {
            told.push(DEFAULT);
        }
        told
    }

    /// Those that somebody would do: who is there does not come again, and leaves where it takes out nobody else.
    fn may(&self, step: Step) -> bool {
        match step {
            Step::Install => true,
            Step::Restore => self.wanted.get(),
            Step::Come(who) => {
                self.others.found[who].get().is_none()
                    && !self.chain().contains(&(NEIGHBOURS + who))
            }
            Step::Again(who) => {
                self.others.found[who].get().is_some()
                    && self.others.in_force.get() >= OURS
                    && self.chain().contains(&(NEIGHBOURS + who))
            }
            // Nobody but ours is above: else it would take out others, too.
            Step::Leave(who) => {
                self.chain().into_iter().find(|at| *at < OURS) == Some(NEIGHBOURS + who)
                    && self.others.found[who].get().is_some()
            }
        }
    }
}

/// Both processes, in the same state.
struct Pair {
    world: Rc<World>,
    plain: Plain,
    before: usize,
    steps: Vec<Step>,
    /// How often somebody put a handler in place.
    came: usize,
}

impl Pair {
    fn new(before: usize) -> Self {
        let plain = Plain {
            others: Others::default(),
            below: RefCell::default(),
            wanted: Cell::new(false),
        };
        plain.others.in_force.set(before);
        Self { world: World::new(before), plain, before, steps: Vec::new(), came: 0 }
    }

    /// False if nobody would do that, or there are more than ours can stand over. Who has come again has
    /// forgotten what it had found at first, and cannot leave.
    fn step(&mut self, step: Step) -> bool {
        let comes = matches!(step, Step::Come(_) | Step::Again(_));
        let full = comes && self.came == LEVELS - 1;
        let did = |other: fn(&Step) -> bool| self.steps.iter().any(other);
        let mixed = match step {
            Step::Again(_) => did(|step| matches!(step, Step::Leave(_))),
            Step::Leave(_) => did(|step| matches!(step, Step::Again(_))),
            _ => false,
        };
        if full || mixed || !self.plain.may(step) {
            return false;
        }
        self.came += usize::from(comes);
        self.steps.push(step);
        let (shipped, plain) = (self.world.apply(step), self.plain.apply(step));
        assert_eq!(shipped, plain, "{}: {:?}", self.before, self.steps);
        true
    }

    /// A signal, which is the last that happens.
    fn signal(self) {
        let Self { world, plain, before, steps, .. } = self;
        let (mut told, mut expected) = (world.signal(), plain.signal());
        if !plain.wanted.get() {
            // Where ours was put back after a stop it hears the signal for nobody.
            told.retain(|who| *who != OURS);
            expected.retain(|who| *who != OURS);
        }
        if steps.iter().any(|step| matches!(step, Step::Again(_))) {
            // Others are told though who was above has forgotten them, and some twice.
            told.sort_unstable();
            told.dedup();
            told.retain(|who| expected.contains(who));
            expected.sort_unstable();
        }
        assert_eq!(told, expected, "{before}: {steps:?}");
        // Breaks the circle.
        world.handlers.take();
    }
}

fn run(before: usize, steps: &[Step]) -> bool {
    let mut pair = Pair::new(before);
    let done = steps.iter().all(|step| pair.step(*step));
    if done {
        pair.signal();
    }
    done
}

fn all(before: usize, steps: &mut Vec<Step>, of: &[Step], left: usize, count: &mut u32) {
    if !run(before, steps) {
        return;
    }
    *count += 1;
    if left == 0 {
        return;
    }
    for step in of {
        steps.push(*step);
        all(before, steps, of, left - 1, count);
        steps.pop();
    }
}

fn steps(neighbours: usize) -> Vec<Step> {
    let each =
        (0..neighbours).flat_map(|who| [Step::Come(who), Step::Leave(who), Step::Again(who)]);
    [Step::Install, Step::Restore].into_iter().chain(each).collect()
}

#[test]
fn each_is_told_once_in_every_order() {
    let mut count = 0;
    for (neighbours, length) in [(1, 10), (2, 7), (3, 6)] {
        for before in [DEFAULT, BASE] {
            all(before, &mut Vec::new(), &steps(neighbours), length, &mut count);
        }
    }
    assert!(count > 50_000, "only {count}");
}

/// Who is told after these, the same ones first `times` times over.
fn told(before: usize, times: usize, over: &[Step], then: &[Step]) -> Told {
    let world = World::new(before);
    let over = over.iter().cycle().take(times * over.len());
    over.chain(then).for_each(|step| _ = world.apply(*step));
    let told = world.signal();
    world.handlers.take();
    told
}

/// One that puts its handler over ours again stands in one place, the last.
#[test]
fn who_comes_again_is_told_once() {
    use Step::{Again, Come, Install};
    let steps = [Install, Come(0), Install, Again(0), Install];
    assert_eq!(told(BASE, 0, &[], &steps), [OURS, NEIGHBOURS, BASE]);
}

/// However often somebody comes and goes, there is room for others.
#[test]
fn who_leaves_gives_its_place_back() {
    use Step::{Come, Install, Leave};
    let over = [Install, Come(0), Install, Leave(0)];
    let then = [Install, Come(0), Install, Come(1), Install];
    let all = [OURS, NEIGHBOURS + 1, NEIGHBOURS, BASE];
    assert_eq!(told(BASE, 20, &over, &then), all);
}

proptest! {
    #![proptest_config(crate::tests::config())]

    /// The same on longer ways.
    #[test]
    fn each_is_told_once(
        handled in any::<bool>(),
        steps in prop::collection::vec(prop::sample::select(steps(3)), 1..60),
    ) {
        let mut pair = Pair::new(if handled { BASE } else { DEFAULT });
        for step in steps {
            pair.step(step);
        }
        pair.signal();
    }
}

#![forbid(unsafe_code)]
//! A registered signal stack is not unmapped by who has the host in hand.
use portcullis::attach::SystemHost;
use portcullis::attach::host::Host;

portcullis::thread_slot!(Slot);
static HOST: SystemHost<Slot> = SystemHost::new();

fn main() {
    let stack = HOST.make_stack().unwrap();
    let saved = HOST.enter_stack(&stack);
    HOST.leave_stack(&stack, saved);
    HOST.free_stack(stack);
}

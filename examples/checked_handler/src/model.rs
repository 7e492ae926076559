//! Every place where a signal can land.

use crate::Requests;
use crate::sync::Ordering::*;
use portcullis::model::{Control, Disposition, Kernel, Model, sig, thread};
use std::sync::Arc;

/// Two signals come while the program takes requests: none of them is lost.
fn requests(take: fn(&Requests) -> u32) {
    // The program as it begins, on a kernel of its own, which interrupts each thread twice at most.
    let kernel = Kernel::new().at_most(2);
    let requests = Arc::new(Requests::new());
    for signal in [sig::USR1, sig::USR2] {
        let theirs = Arc::clone(&requests);
        kernel.sigaction(signal, Disposition::handler(move |_| theirs.on_signal()));
    }

    // Somebody sends the signals.
    let sender = thread::spawn("sender", move || {
        kernel.tgkill(thread::main(), sig::USR1);
        kernel.tgkill(thread::main(), sig::USR2);
    });

    // What the program does meanwhile, and once no more can come.
    let mut taken = take(&requests);
    sender.join();
    taken += take(&requests);
    assert_eq!(taken, 2, "requests are lost");
}

#[test]
fn nothing_is_lost() {
    Model::new("nothing_is_lost").actors(2).check(|| requests(Requests::take));
}

/// As it was at first: it clears the flag when it has taken. A signal between the two is lost.
#[test]
fn clearing_last_loses_a_request() {
    Control::new("clearing_last_loses_a_request", "requests are lost").actors(2).check(|| {
        requests(|requests| {
            if !requests.pending.load(Acquire) {
                return 0;
            }
            let taken = requests.count.swap(0, Relaxed);
            requests.pending.store(false, Relaxed);
            taken
        });
    });
}

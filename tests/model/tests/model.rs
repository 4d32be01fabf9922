//! Explores the scenarios of the model, and those that lack one fence or order.

use std::collections::BTreeSet;
use std::time::Instant;

use execbuf_model::{Failure, Outcome, Scenario, Tso, Views, explore, lock, pool_scenarios};

type Scenarios = fn(&str) -> Vec<(&'static str, Scenario)>;
type Explore = fn(&Scenario) -> Outcome;

const MODELS: [(&str, Explore); 2] = [("TSO", explore::<Tso>), ("views", explore::<Views>)];
const NOTHING: &str = "";

/// Expects that no state breaks a promise: two threads with the lock, a lost slot, a thread that waits for ever….
fn hold_always(scenarios: Scenarios) {
    for (name, scenario) in scenarios(NOTHING) {
        for (model, explore) in MODELS {
            let start = Instant::now();
            let outcome = explore(&scenario);
            if let Some(Failure { what, trace }) = outcome.failure {
                panic!("{name}, {model}: {what}\n{trace}");
            }
            println!("{name}, {model}: {} states, {:.1?}", outcome.states, start.elapsed());
        }
    }
}

/// The first failure that a model finds without one fence or order: the scenario, and what failed.
fn find_failure(explore: Explore, removed: &str) -> Option<(&'static str, Failure)> {
    let mut all = lock::scenarios(removed).into_iter().chain(pool_scenarios::scenarios(removed));
    all.find_map(|(name, scenario)| Some((name, explore(&scenario).failure?)))
}

/// The names of all fences and orders.
fn switches() -> BTreeSet<String> {
    let all = lock::scenarios(NOTHING).into_iter().chain(pool_scenarios::scenarios(NOTHING));
    all.flat_map(|(_, scenario)| scenario.programs).flat_map(|program| program.switches).collect()
}

/// Orders of single accesses mean nothing to TSO.
fn matters_to_tso(switch: &str) -> bool {
    !switch.ends_with(", acquire") && !switch.ends_with(", release")
}

#[test]
fn the_lock_excludes_and_no_thread_waits_for_ever() {
    hold_always(lock::scenarios);
}

#[test]
fn no_slot_is_lost_or_given_out_twice_or_with_old_code() {
    hold_always(pool_scenarios::scenarios);
}

#[test]
fn without_any_single_fence_or_order_something_fails() {
    let wants_traces = std::env::var_os("EXECBUF_MODEL_TRACES").is_some();
    let mut harmless = vec![];
    for switch in switches() {
        for (model, explore) in MODELS {
            if model == "TSO" && !matters_to_tso(&switch) {
                continue;
            }
            if let Some((name, Failure { what, trace })) = find_failure(explore, &switch) {
                println!("without \"{switch}\", {model}: {what} ({name})");
                if wants_traces {
                    println!("{trace}");
                }
            } else {
                harmless.push(format!("{switch}, {model}"));
            }
        }
    }
    assert!(harmless.is_empty(), "nothing fails without {harmless:#?}");
}

#[test]
#[ignore = "takes some minutes"]
fn the_lock_excludes_three_threads() {
    hold_always(lock::large_scenarios);
}

#[test]
#[ignore = "takes some minutes"]
fn three_threads_lose_no_slot() {
    hold_always(pool_scenarios::large_scenarios);
}

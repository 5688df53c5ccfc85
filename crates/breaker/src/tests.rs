//! The state of a breaker on clocks that the tests set, and permits on the clock of the runtime.

use proptest::prelude::*;

use super::*;

fn clocks() -> Clocks {
    Clocks { monotonic: Instant::now(), wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000) }
}

/// Returns a state that has just opened.
fn open(now: Clocks) -> State {
    let mut state = State::default();
    let opened: Vec<_> = (0..FAILURES_MAX).map(|_| state.failed(false, now, 1.0)).collect();
    assert_eq!(opened, [false, false, true]);
    state
}

#[test]
fn the_open_time_doubles_up_to_the_maximum_and_is_random_above_its_half() {
    for (failed_probes, half_s, whole_s) in
        [(0, 1, 2), (1, 2, 4), (2, 4, 8), (3, 8, 16), (4, 15, 30), (u32::MAX, 15, 30)]
    {
        let range = [open_for(failed_probes, 0.0), open_for(failed_probes, 1.0)];
        assert_eq!(range.map(|time| time.as_secs()), [half_s, whole_s], "after {failed_probes} probes");
    }
}

#[test]
fn an_open_time_ends_when_it_has_passed_on_either_clock() {
    let now = clocks();
    let state = open(now);
    let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
    let later = now.after(minute);
    for (what, then, expected) in [
        ("both clocks", now.after(second), Err(second)),
        ("the monotonic clock stood still", Clocks { monotonic: now.monotonic, ..later }, Ok(true)),
        ("the wall clock was set back", Clocks { wall: now.wall - minute, ..later }, Ok(true)),
        ("both clocks, long after", later, Ok(true)),
    ] {
        let mut state = state;
        assert_eq!(state.permit(then), expected, "{what}");
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Ask,
    Wait {
        ms: u64,
    },
    /// Ends one of the calls in progress.
    End {
        send: usize,
        is_healthy: Option<bool>,
        random: f64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let is_healthy = prop_oneof![5 => Just(Some(false)), 2 => Just(Some(true)), 1 => Just(None)];
    let end = (any::<usize>(), is_healthy, 0.0..=1.0_f64);
    prop_oneof![
        4 => Just(Step::Ask),
        1 => (0..40_000_u64).prop_map(|ms| Step::Wait { ms }),
        4 => end.prop_map(|(send, is_healthy, random)| Step::End { send, is_healthy, random }),
    ]
}

proptest! {
    #[test]
    fn a_breaker_opens_only_after_failures_and_closes_with_the_success_of_its_only_probe(
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let (mut state, mut now) = (State::default(), clocks());
        // The calls in progress, by whether they are probes, and the verdicts so far.
        let (mut sends, mut verdicts): (Vec<bool>, Vec<bool>) = (Vec::new(), Vec::new());
        for step in steps {
            let was_open = matches!(state, State::Open { .. });
            match step {
                Step::Wait { ms } => now = now.after(Duration::from_millis(ms)),
                Step::Ask => match state.permit(now) {
                    Ok(is_probe) => {
                        prop_assert_eq!(is_probe, was_open, "an open breaker permits only probes");
                        sends.push(is_probe);
                    }
                    Err(rest) => {
                        prop_assert!(was_open && !rest.is_zero() && rest <= OPEN_MAX, "{:?}", rest);
                    }
                },
                Step::End { .. } if sends.is_empty() => {}
                Step::End { send, is_healthy, random } => {
                    let is_probe = sends.swap_remove(send % sends.len());
                    match is_healthy {
                        Some(true) => {
                            prop_assert_eq!(state.succeeded(is_probe), is_probe, "the success of a probe closes");
                            prop_assert!(!is_probe || state == State::default());
                        }
                        Some(false) => {
                            let has_opened = state.failed(is_probe, now, random);
                            prop_assert!(!(has_opened && is_probe));
                            if has_opened {
                                let last = verdicts.iter().rev().take(FAILURES_MAX as usize - 1);
                                prop_assert!(last.clone().count() == 2 && last.copied().all(|healthy| !healthy));
                            }
                        }
                        None if is_probe => state.released(),
                        None => {}
                    }
                    verdicts.extend(is_healthy);
                }
            }
            prop_assert!(sends.iter().filter(|is_probe| **is_probe).count() <= 1, "two probes");
            let has_probe = sends.contains(&true);
            for then in [now.after(OPEN_MAX), Clocks { monotonic: now.monotonic, ..now.after(OPEN_MAX) }] {
                let mut later = state;
                prop_assert_eq!(later.permit(then).is_ok(), !has_probe, "open for longer than the maximum");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_probe_makes_way_for_the_next() {
    let breaker = Breaker::default();
    let opened: Vec<_> = (0..FAILURES_MAX).map(|_| breaker.permit().ok().unwrap().failed()).collect();
    assert_eq!(opened, [false, false, true]);
    assert!(breaker.permit().is_err(), "it is open");
    tokio::time::advance(OPEN_INITIAL).await;
    let probe = breaker.permit().ok().unwrap();
    assert_eq!(breaker.permit().err(), Some(PROBE_WAIT), "one probe at a time");
    drop(probe);
    drop(breaker.permit().ok().unwrap());
    breaker.permit().ok().unwrap().failed();
    let rest = breaker.permit().err().unwrap();
    assert!(rest > Duration::from_secs(1), "the failed probe opened it for longer: {rest:?}");
    tokio::time::advance(2 * OPEN_INITIAL).await;
    assert!(breaker.permit().ok().unwrap().succeeded(), "the probe closes it");
    assert!(!breaker.is_troubled.load(Ordering::Relaxed), "it is as new");
    let all: Vec<_> = (0..9).map_while(|_| breaker.permit().ok()).collect();
    assert_eq!(all.len(), 9);
}

use proptest::prelude::*;

use super::*;

/// 32 bytes or nothing, with 2.5 s of patience.
const TAKE: [u8; REQUEST_LEN] = [1, 1, 0, 0, 0, 0, 0, 32, 0, 0, 0, 32, 0, 0, 0x09, 0xC4];

fn changed(at: usize, to: u8) -> Result<Request, Malformed> {
    let mut frame = TAKE;
    frame[at] = to;
    Request::new_checked(&frame)
}

#[test]
fn a_request_is_these_bytes() {
    let take = Request::Take {
        least: 32,
        most: 32,
        wait: Wait::UpTo(2500),
    };
    assert_eq!(Request::new_checked(&TAKE), Ok(take));
    assert_eq!(take.frame(), TAKE);
    let status = [1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(Request::new_checked(&status), Ok(Request::Status));
    assert_eq!(Request::Status.frame(), status);
}

#[test]
fn what_is_wrong_with_a_request_is_said() {
    assert_eq!(changed(0, 2), Err(Malformed::Version(2)));
    assert_eq!(changed(1, 9), Err(Malformed::Kind(9)));
    assert_eq!(changed(3, 1), Err(Malformed::NotZero));
    assert_eq!(changed(1, 2), Err(Malformed::NotZero));
    for (at, to) in [(7, 0), (7, 33), (4, 1), (11, 0)] {
        assert!(matches!(changed(at, to), Err(Malformed::Amount { .. })));
    }
}

#[test]
fn who_waits_may_insist_on_little() {
    let take = |least, wait| {
        let most = MAX_TAKE;
        let take = Request::Take { least, most, wait };
        Request::new_checked(&take.frame()).is_ok()
    };
    assert!(take(MAX_TAKE, Wait::UpTo(0)));
    for wait in [Wait::UpTo(1), Wait::ForEver] {
        assert!(take(MAX_PATIENT_LEAST, wait));
        assert!(!take(MAX_PATIENT_LEAST + 1, wait));
    }
}

#[test]
fn an_answer_is_these_bytes() {
    let head = [1, 0, 0, 0, 0, 1, 0, 0];
    let answer = Answer {
        code: Code::Bytes,
        len: 65_536,
    };
    assert_eq!(Answer::new_checked(&head), Ok(answer));
    assert_eq!(answer.frame(), head);
    let too_long = [1, 0, 0, 0, 0, 1, 0, 1];
    assert_eq!(
        Answer::new_checked(&too_long),
        Err(Malformed::Length(65_537))
    );
    for (head, wrong) in [
        ([0, 0, 0, 0, 0, 0, 0, 0], Malformed::Version(0)),
        ([1, 9, 0, 0, 0, 0, 0, 0], Malformed::Kind(9)),
        ([1, 2, 1, 0, 0, 0, 0, 0], Malformed::NotZero),
        ([1, 2, 0, 0, 0, 0, 0, 1], Malformed::Length(1)),
    ] {
        assert_eq!(Answer::new_checked(&head), Err(wrong));
    }
}

#[test]
fn a_wait_is_never_shorter_than_asked_for() {
    let wait = |wait: Duration| Wait::from(Some(wait));
    assert_eq!(wait(Duration::ZERO), Wait::UpTo(0));
    assert_eq!(wait(Duration::from_nanos(1)), Wait::UpTo(1));
    assert_eq!(wait(Duration::from_millis(1500)), Wait::UpTo(1500));
    assert_eq!(wait(Duration::MAX), Wait::UpTo(u32::MAX - 1));
    assert_eq!(Wait::from(None), Wait::ForEver);
}

proptest! {
    #[test]
    fn a_request_that_is_understood_is_written_as_it_came(frame: [u8; REQUEST_LEN]) {
        if let Ok(request) = Request::new_checked(&frame) {
            prop_assert_eq!(request.frame(), frame);
        }
    }

    #[test]
    fn every_valid_take_is_understood(
        most in 1..=MAX_TAKE, share in 0.0..1.0_f64, ms: u32, patient: bool,
    ) {
        let limit = if patient { most.min(MAX_PATIENT_LEAST) } else { most };
        let least = 1 + (f64::from(limit - 1) * share) as u32;
        let wait = match ms {
            _ if !patient => Wait::UpTo(0),
            0 | u32::MAX => Wait::ForEver,
            ms => Wait::UpTo(ms),
        };
        let take = Request::Take { least, most, wait };
        prop_assert_eq!(Request::new_checked(&take.frame()), Ok(take));
    }

    #[test]
    fn an_answer_that_is_understood_is_written_as_it_came(frame: [u8; ANSWER_LEN]) {
        if let Ok(answer) = Answer::new_checked(&frame) {
            prop_assert_eq!(answer.frame(), frame);
        }
    }
}

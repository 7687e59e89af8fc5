use super::*;
use support::{Got, SECOND, T0, joined};

mod support;

#[test]
fn bytes_come_through_once() {
    let (mut collector, mut gateway) = joined();
    let first = collector.packet(T0 + 1);
    assert_eq!(gateway.take(&first, T0 + 2), Ok(Got::Number(1)));
    assert_eq!(gateway.take(&first, T0 + 3), Err(Reject::Duplicate));
    assert_eq!(
        gateway.take(&collector.announce(T0 + SECOND), T0 + SECOND),
        Ok(Got::Announced)
    );
    assert_eq!(gateway.admit.counts().committed, 1);
}

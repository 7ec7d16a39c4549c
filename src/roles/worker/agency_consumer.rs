//! One agency's consumer: its deliveries come in, as many at once and as fast as the agency bears, each office in its turn;
//! while its circuit is open, what would be sent is held back in the journal.

use super::{
    Breaker, Circuit, Hand,
    breaker::Errand,
    hand::{Standing, Whom},
    pace::Pace,
    rate::Rate,
    settlement::{Left, settled},
};
use crate::{
    adapter::Adapter,
    broker::{Broker, Deliveries, Delivery},
    crash::{self, Point},
    delivery::{AgencyConnection, Delivered, Deliverer, HealthSignal, deliver},
    domain::{Clock, SubmissionId},
    telemetry::{BreakerState, Metrics},
};
use jiff::Timestamp;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub struct AgencyConsumer {
    pub(super) adapter: Arc<Adapter>,
    broker: Arc<dyn Broker>,
    pub(super) deliverer: Arc<Deliverer>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Metrics,
    under_way: TaskTracker,
}

pub struct AgencyConsumerParts {
    pub adapter: Arc<Adapter>,
    pub broker: Arc<dyn Broker>,
    pub deliverer: Arc<Deliverer>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
}

/// The pause after a failure of broker or journal. It is also the longest sleep, because the wall clock may jump.
pub(super) const PAUSE: Duration = Duration::from_secs(1);
/// Before what could not be held back yet is looked at again.
const SHORT_PAUSE: Duration = Duration::from_millis(200);

/// All that changes while a consumer runs.
struct Course {
    hand: Hand,
    breaker: Breaker,
    rate: Rate,
    pace: Pace,
    /// Under way in all.
    busy: u32,
    is_probe_under_way: bool,
    /// Since the circuit is half open: by the declared probe, or because none is declared.
    is_found_well: bool,
    /// The probe that was woken.
    coming: Option<AwaitedProbe>,
    /// What was to be held back and could not be yet.
    hold_again_at: Option<Instant>,
    ended: mpsc::UnboundedSender<Ended>,
}

/// What comes through the broker to be the probe.
#[derive(Clone, Copy)]
struct AwaitedProbe {
    /// Of its office.
    failures: usize,
    /// It is not waited for longer: another worker may have got it.
    until: Instant,
}

/// One delivery that is over.
#[derive(Debug, Clone, PartialEq)]
struct Ended {
    whom: Whom,
    submission: Option<SubmissionId>,
    errand: Errand,
    signal: HealthSignal,
}

/// The place of a delivery that is under way. Its task holds it, and the consumer has it back once it is dropped, also if the
/// task fails inside.
struct DeliverySlot {
    ended: Ended,
    consumer: mpsc::UnboundedSender<Ended>,
}

impl DeliverySlot {
    fn free(mut self, signal: HealthSignal) {
        self.ended.signal = signal;
    }
}

impl Drop for DeliverySlot {
    fn drop(&mut self) {
        // An error says that the consumer is ending.
        let _ = self.consumer.send(self.ended.clone());
    }
}

impl AgencyConsumer {
    pub fn new(parts: AgencyConsumerParts) -> Arc<Self> {
        let AgencyConsumerParts { adapter, broker, deliverer, clock, metrics } = parts;
        Arc::new(Self { adapter, broker, deliverer, clock, metrics, under_way: TaskTracker::new() })
    }

    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let (ended, mut endings) = mpsc::unbounded_channel();
        let mut course = self.course(ended);
        while !stop.is_cancelled() {
            // Not before the journal is known to be the one that the installation has worked with.
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.deliverer.marks.until_may_send() => {}
            }
            self.report(course.breaker.circuit());
            if let Some(connection) = self.halted_line() {
                self.stand_still(&connection, &stop).await;
                course.pace.slow_start(self.clock.now());
                continue;
            }
            match self.broker.consume(&self.adapter.agency, self.adapter.limits.in_hand()).await {
                Ok(mut deliveries) => {
                    self.serve(&mut course, &mut deliveries, &mut endings, &stop).await;
                    self.leave(&mut course, deliveries).await;
                }
                Err(error) => tracing::warn!(agency = %self.adapter.agency, %error, "cannot consume"),
            }
            if self.halted_line().is_none() {
                tokio::select! { () = stop.cancelled() => {}, () = sleep(PAUSE) => {} }
            }
        }
        self.under_way.close();
        self.under_way.wait().await;
    }

    fn course(&self, ended: mpsc::UnboundedSender<Ended>) -> Course {
        let limits = &self.adapter.limits;
        Course {
            hand: Hand::default(),
            breaker: Breaker::new(self.adapter.breaker),
            rate: Rate::new(limits.requests_per_second, Instant::now()),
            pace: Pace::beginning(limits.concurrency.get(), self.clock.now()),
            busy: 0,
            is_probe_under_way: false,
            is_found_well: false,
            coming: None,
            hold_again_at: None,
            ended,
        }
    }

    /// Until the process stops, the queues end, or the agency does not take our certificate.
    async fn serve(
        self: &Arc<Self>,
        course: &mut Course,
        deliveries: &mut Deliveries,
        endings: &mut mpsc::UnboundedReceiver<Ended>,
        stop: &CancellationToken,
    ) {
        while self.halted_line().is_none() {
            course.breaker.tick(self.clock.now());
            self.look_first(course, stop);
            self.hold(course).await;
            self.wake(course).await;
            let rest = self.begin_what_may_go(course);
            self.metrics.in_hand(&self.adapter.agency, course.hand.len());
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.deliverer.marks.until_held() => return,
                Some(ended) = endings.recv() => self.learn(course, ended),
                delivery = next(deliveries) => match delivery {
                    Some(delivery) => self.receive(course, delivery),
                    None => return,
                },
                () = sleep(rest) => {}
            }
            // What has come meanwhile takes part in the choice.
            while let Ok(ended) = endings.try_recv() {
                self.learn(course, ended);
            }
            while let Some(delivery) = ready(deliveries) {
                self.receive(course, delivery);
            }
        }
    }

    fn receive(self: &Arc<Self>, course: &mut Course, delivery: Delivery) {
        match &delivery.item {
            Ok(_) => course.hand.put(delivery),
            Err(poison) => {
                tracing::error!(agency = %self.adapter.agency, %poison, "a message goes to the dead letters");
                self.under_way.spawn(async move { settled(delivery.settle.reject().await) });
            }
        }
    }

    /// How long nothing will change by itself.
    fn begin_what_may_go(self: &Arc<Self>, course: &mut Course) -> Duration {
        while course.busy < course.pace.places() {
            if let Some(wait) = course.rate.free_in(Instant::now()) {
                return wait.min(PAUSE);
            }
            let Some((whom, delivery, errand)) = course.next() else { break };
            course.rate.count(Instant::now());
            course.busy += 1;
            course.is_probe_under_way |= errand == Errand::Probe;
            let submission = delivery.item.as_ref().ok().map(|item| item.submission);
            let ended = Ended { whom, submission, errand, signal: HealthSignal::None };
            let (consumer, place) = (self.clone(), DeliverySlot { ended, consumer: course.ended.clone() });
            self.under_way.spawn(async move {
                let signal = consumer.handle(delivery).await;
                place.free(signal);
            });
        }
        course.rest(self.clock.now())
    }

    /// A probe that is declared changes nothing, whatever the agency makes of it: it goes before the submission that would
    /// otherwise be the first to meet an agency that is not there yet.
    fn look_first(self: &Arc<Self>, course: &mut Course, stop: &CancellationToken) {
        if !matches!(course.breaker.circuit(), Circuit::HalfOpen { .. }) {
            course.is_found_well = false;
            return;
        }
        if course.is_found_well || course.is_probe_under_way {
            return;
        }
        let connection = self.deliverer.connections.get(&self.adapter.agency).and_then(Result::ok);
        let Some(connection) = connection.filter(|connection| connection.adapter.probe.is_some()) else {
            course.is_found_well = true;
            return;
        };
        // It takes no place: whom the circuit does not keep waiting goes on meanwhile.
        course.is_probe_under_way = true;
        let ended = Ended { whom: None, submission: None, errand: Errand::Look, signal: HealthSignal::None };
        let (consumer, place, stop) =
            (self.clone(), DeliverySlot { ended, consumer: course.ended.clone() }, stop.clone());
        self.under_way.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                signal = consumer.look(&connection) => place.free(signal),
            }
        });
    }

    async fn look(&self, connection: &Arc<AgencyConnection>) -> HealthSignal {
        match connection.look_and_heed().await {
            Ok(_) => HealthSignal::Well,
            Err(unwell) => {
                let (agency, remedy) = (&self.adapter.agency, unwell.remedy);
                tracing::warn!(%agency, %unwell, remedy, "nothing is sent there yet");
                HealthSignal::Ill { retry_after: None }
            }
        }
    }

    async fn handle(&self, delivery: Delivery) -> HealthSignal {
        let Ok(item) = &delivery.item else { return HealthSignal::None };
        match deliver(&self.deliverer, &self.adapter.agency, item).await {
            Delivered::Done(signal) => {
                settled(delivery.settle.ack().await);
                crash::here(Point::WorkerAcked);
                signal
            }
            // Not acked: the broker delivers it again.
            Delivered::NotRecorded => HealthSignal::None,
        }
    }

    fn learn(&self, course: &mut Course, ended: Ended) {
        let Ended { whom, submission, errand, signal } = ended;
        course.busy = course.busy.saturating_sub(u32::from(errand != Errand::Look));
        course.is_probe_under_way &= errand == Errand::Ordinary;
        course.is_found_well &= errand != Errand::Probe;
        if errand == Errand::Look {
            course.is_found_well = signal == HealthSignal::Well;
            if !course.is_found_well {
                course.breaker.reopen(self.clock.now());
                self.report(course.breaker.circuit());
            }
            return;
        }
        let has_failed = match signal {
            HealthSignal::Well => Some(false),
            HealthSignal::Ill { .. } | HealthSignal::Away => Some(true),
            HealthSignal::Answered | HealthSignal::None => None,
        };
        course.hand.ended(&whom, has_failed);
        let Some(submission) = submission else { return };
        let (now, before) = (self.clock.now(), course.breaker.circuit().clone());
        course.breaker.learn(&whom, submission, self.bounded(signal), errand, now);
        match (&before, course.breaker.circuit()) {
            (Circuit::Closed, Circuit::Closed) if matches!(signal, HealthSignal::Well | HealthSignal::Answered) => {
                course.pace.grow()
            }
            (Circuit::Closed, Circuit::Closed) => {}
            // The agency was there all the time: only what waits of this office is woken.
            (before, Circuit::Closed) if !before.keeps_all_waiting() => course.pace.wake_all(now),
            (_, Circuit::Closed) => course.pace.slow_start(now),
            (_, Circuit::Open { .. } | Circuit::HalfOpen { .. }) => course.pace.doubt(),
        }
        let after = course.breaker.circuit();
        if before != *after {
            tracing::warn!(agency = %self.adapter.agency, ?before, ?after, "the circuit has changed");
            self.report(after);
        }
    }

    fn bounded(&self, signal: HealthSignal) -> HealthSignal {
        match signal {
            HealthSignal::Ill { retry_after: Some(asked) } => {
                HealthSignal::Ill { retry_after: Some(self.adapter.schedule.bounded(asked)) }
            }
            other => other,
        }
    }

    /// While the circuit is open, nothing that it keeps waiting stays in hand.
    async fn hold(&self, course: &mut Course) {
        let Circuit::Open { whose, .. } = course.breaker.circuit() else { return };
        if course.hold_again_at.is_some_and(|again| Instant::now() < again) {
            return;
        }
        let meant = course.hand.take(|whom| whose.covers(whom));
        let since = course.breaker.failing_since().unwrap_or_else(|| self.clock.now());
        let Left { deliveries, error } = self.hold_back(meant, since).await;
        let pause = if error.is_some() { PAUSE } else { SHORT_PAUSE };
        course.hold_again_at = (!deliveries.is_empty()).then(|| Instant::now() + pause);
        if let Some(error) = error {
            let (agency, count) = (&self.adapter.agency, deliveries.len());
            tracing::warn!(%agency, deliveries = count, %error, "what waits for the agency cannot be held back yet");
        }
        deliveries.into_iter().for_each(|delivery| course.hand.put(delivery));
    }

    /// What waits in the journal for the agency comes as it is needed: one as a probe, and then as many as the pace bears.
    async fn wake(&self, course: &mut Course) {
        let (before, wanted) = match course.breaker.circuit() {
            Circuit::HalfOpen { .. } if course.wants_probe() => (Timestamp::MAX, 1),
            Circuit::Closed => {
                let Some((before, wanted)) = course.pace.to_wake() else { return };
                let in_hand = u32::try_from(course.hand.len()).unwrap_or(u32::MAX);
                (before, wanted.saturating_sub(in_hand))
            }
            Circuit::Open { .. } | Circuit::HalfOpen { .. } => return,
        };
        if wanted == 0 || !course.pace.may_wake() {
            return;
        }
        let (agency, failures) = (&self.adapter.agency, course.breaker.failures());
        match self.deliverer.recorder.submissions.wake(agency, before, wanted, &failures).await {
            Ok(woken) => {
                course.pace.woken(woken.len());
                let least = woken.into_iter().map(|office| failures.get(&office).copied().unwrap_or_default()).min();
                let Some(failures) = least else { return };
                course.coming = Some(AwaitedProbe { failures, until: Instant::now() + PAUSE });
            }
            Err(error) => {
                course.pace.wake_later();
                tracing::warn!(%agency, %error, "what waits cannot be woken yet");
            }
        }
    }

    /// What is in hand is put back unharmed.
    async fn leave(&self, course: &mut Course, mut deliveries: Deliveries) {
        deliveries.urgent.close();
        deliveries.ordinary.close();
        while let Some(delivery) = next(&mut deliveries).await {
            course.hand.put(delivery);
        }
        self.put_back(course.hand.take(|_| true)).await;
        self.metrics.in_hand(&self.adapter.agency, 0);
    }

    fn report(&self, circuit: &Circuit) {
        let state = match circuit {
            Circuit::Closed => BreakerState::Closed,
            Circuit::HalfOpen { .. } => BreakerState::HalfOpen,
            Circuit::Open { .. } => BreakerState::Open,
        };
        self.metrics.breaker(&self.adapter.agency, state);
    }
}

impl Course {
    /// The next that may go, and what for.
    fn next(&mut self) -> Option<(Whom, Delivery, Errand)> {
        let (breaker, places, is_probe_under_way) = (&self.breaker, self.pace.places(), self.is_probe_under_way);
        let coming = self.coming.filter(|coming| Instant::now() < coming.until);
        let is_no_worse = |failures: &usize| coming.is_none_or(|coming| *failures <= coming.failures);
        let rank = |whom: &Whom, standing: Standing| match breaker.circuit() {
            Circuit::Open { whose, .. } if whose.covers(whom) => None,
            // The probe is of whoever has failed least, also if it is still on its way.
            Circuit::HalfOpen { whose } if whose.covers(whom) => {
                (!is_probe_under_way).then(|| breaker.failures_of(whom)).filter(is_no_worse)
            }
            _ => (standing.under_way < share(places, standing)).then_some(0),
        };
        let (whom, delivery) = self.hand.next(rank)?;
        let is_probe = matches!(self.breaker.circuit(), Circuit::HalfOpen { whose } if whose.covers(&whom));
        Some((whom, delivery, if is_probe { Errand::Probe } else { Errand::Ordinary }))
    }

    /// Whether nothing in hand may be the probe that is of an office which has not failed.
    fn wants_probe(&self) -> bool {
        let Circuit::HalfOpen { whose } = self.breaker.circuit() else { return false };
        let is_good = |whom: &Whom| whose.covers(whom) && self.breaker.failures_of(whom) == 0;
        !self.is_probe_under_way && !self.hand.has(is_good)
    }

    fn rest(&self, now: Timestamp) -> Duration {
        let circuit = match self.breaker.circuit() {
            Circuit::Open { until, .. } => {
                let again = self.hold_again_at.map_or(PAUSE, |again| again.saturating_duration_since(Instant::now()));
                Duration::try_from(until.duration_since(now)).unwrap_or_default().min(again)
            }
            Circuit::Closed | Circuit::HalfOpen { .. } => PAUSE,
        };
        circuit.min(self.pace.rest()).min(PAUSE)
    }
}

/// Of the places, for one office. One whose requests meet nothing but silence or failures soon has a single one: what it
/// asks may be the reason, and every place that it takes would be taken for long. Before its first time-out nobody knows, so
/// that the last of many places is nobody's who has all others. To an office alone this costs a quarter of what the agency
/// bears at the most; of fewer places it would be too much.
fn share(places: u32, standing: Standing) -> u32 {
    let most = if places < MANY_PLACES { places } else { places - 1 };
    most.min(places.checked_shr(standing.failures).unwrap_or(0)).max(1)
}

const MANY_PLACES: u32 = 4;

/// `None` once both queues have ended.
async fn next(deliveries: &mut Deliveries) -> Option<Delivery> {
    tokio::select! {
        biased;
        Some(urgent) = deliveries.urgent.recv() => Some(urgent),
        Some(ordinary) = deliveries.ordinary.recv() => Some(ordinary),
        else => None,
    }
}

fn ready(deliveries: &mut Deliveries) -> Option<Delivery> {
    deliveries.urgent.try_recv().or_else(|_| deliveries.ordinary.try_recv()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_office_never_has_all_of_many_places_and_one_that_fails_soon_has_a_single_one() {
        let of = |places, failures| share(places, Standing { under_way: 0, failures });
        assert_eq!([1, 2, 3, 4, 8, 1000].map(|places| of(places, 0)), [1, 2, 3, 3, 7, 999]);
        assert_eq!([0, 1, 2, 3, 4, 99].map(|failures| of(8, failures)), [7, 4, 2, 1, 1, 1]);
    }

    #[tokio::test]
    async fn a_delivery_whose_task_fails_inside_gives_its_place_back() {
        let (sender, mut endings) = mpsc::unbounded_channel();
        for signal in [None, Some(HealthSignal::Well)] {
            let ended = Ended { whom: None, submission: None, errand: Errand::Probe, signal: HealthSignal::None };
            let place = DeliverySlot { ended: ended.clone(), consumer: sender.clone() };
            let task = tokio::spawn(async move { place.free(signal.expect("it fails inside")) });
            assert_eq!(task.await.is_ok(), signal.is_some());
            let expected = Ended { signal: signal.unwrap_or(HealthSignal::None), ..ended };
            assert_eq!(endings.try_recv(), Ok(expected));
        }
    }
}

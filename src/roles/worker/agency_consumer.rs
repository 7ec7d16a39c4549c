//! One agency's consumer: its deliveries come in, as many at once and as fast as the agency bears, each office in its turn;
//! while its circuit is open, what would be sent is held back in the journal.

use super::{
    Circuit,
    breaker::RequestKind,
    consumer_state::{AwaitedProbe, ConsumerState, PAUSE},
    delivery_slot::{DeliverySlot, Ended},
    standstill::Standstill,
    unsent_deliveries::{Left, UnsentDeliveries, settled},
};
use crate::{
    adapter::Adapter,
    broker::{Broker, Deliveries, Delivery},
    delivery::{AgencyConnection, Delivered, Deliverer, HealthSignal, deliver},
    domain::Clock,
    failpoints::{self, Failpoint},
    telemetry::{BreakerState, Metrics},
};
use jiff::Timestamp;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// One to each agency, made by the worker at its start. Its own task holds it, and so does the task of each delivery under way.
pub struct AgencyConsumer {
    /// The agency's folder: its limits, its breaker's policy and its schedule of retries.
    adapter: Arc<Adapter>,
    /// The queues. The consumer subscribes to the agency's while it may send, and ends the subscription when it may not.
    broker: Arc<dyn Broker>,
    /// Delivers. All consumers of the process share it.
    deliverer: Arc<Deliverer>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    /// The tasks of deliveries and health checks. The consumer ends when they have ended.
    under_way: TaskTracker,
}

pub struct AgencyConsumerParts {
    pub adapter: Arc<Adapter>,
    pub broker: Arc<dyn Broker>,
    pub deliverer: Arc<Deliverer>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
}

/// Pause before deliveries that could not be held back yet are tried again.
const SHORT_PAUSE: Duration = Duration::from_millis(200);

impl AgencyConsumer {
    pub fn new(parts: AgencyConsumerParts) -> Arc<Self> {
        let AgencyConsumerParts { adapter, broker, deliverer, clock, metrics } = parts;
        Arc::new(Self { adapter, broker, deliverer, clock, metrics, under_way: TaskTracker::new() })
    }

    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let (ended, mut endings) = mpsc::unbounded_channel();
        let mut state = ConsumerState::beginning(&self.adapter, self.clock.now(), ended);
        while !stop.is_cancelled() {
            // Not before the journal is known to be the one that the installation has worked with.
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.deliverer.mark_keeper.until_may_send() => {}
            }
            self.report(state.breaker.circuit());
            if let Some(connection) = self.halted_connection() {
                self.standstill(&connection).wait(&stop).await;
                state.slow_start.restart(self.clock.now());
                continue;
            }
            match self.broker.consume(&self.adapter.agency, self.adapter.limits.in_hand()).await {
                Ok(mut deliveries) => {
                    self.serve(&mut state, &mut deliveries, &mut endings, &stop).await;
                    self.leave(&mut state, deliveries).await;
                }
                Err(error) => tracing::warn!(agency = %self.adapter.agency, %error, "cannot consume"),
            }
            if self.halted_connection().is_none() {
                tokio::select! { () = stop.cancelled() => {}, () = sleep(PAUSE) => {} }
            }
        }
        self.under_way.close();
        self.under_way.wait().await;
    }

    /// Until the process stops, the queues end, or the agency does not take our certificate.
    async fn serve(
        self: &Arc<Self>,
        state: &mut ConsumerState,
        deliveries: &mut Deliveries,
        endings: &mut mpsc::UnboundedReceiver<Ended>,
        stop: &CancellationToken,
    ) {
        while self.halted_connection().is_none() {
            state.breaker.tick(self.clock.now());
            self.check_health_before_probe(state, stop);
            self.hold(state).await;
            self.wake(state).await;
            let rest = self.begin_what_may_go(state);
            self.metrics.in_hand(&self.adapter.agency, state.queue.len());
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.deliverer.mark_keeper.until_blocked() => return,
                Some(ended) = endings.recv() => self.learn(state, ended),
                delivery = next(deliveries) => match delivery {
                    Some(delivery) => self.receive(state, delivery),
                    None => return,
                },
                () = sleep(rest) => {}
            }
            // What has come meanwhile takes part in the choice.
            while let Ok(ended) = endings.try_recv() {
                self.learn(state, ended);
            }
            while let Some(delivery) = ready(deliveries) {
                self.receive(state, delivery);
            }
        }
    }

    fn receive(self: &Arc<Self>, state: &mut ConsumerState, delivery: Delivery) {
        match &delivery.item {
            Ok(_) => state.queue.put(delivery),
            Err(poison) => {
                tracing::error!(agency = %self.adapter.agency, %poison, "a message goes to the dead letters");
                self.under_way.spawn(async move { settled(delivery.settle.reject().await) });
            }
        }
    }

    /// How long nothing will change by itself.
    fn begin_what_may_go(self: &Arc<Self>, state: &mut ConsumerState) -> Duration {
        while state.busy < state.slow_start.slots() {
            if let Some(wait) = state.rate.free_in(Instant::now()) {
                return wait.min(PAUSE);
            }
            let Some((owner, delivery, kind)) = state.next() else { break };
            state.rate.count(Instant::now());
            state.busy += 1;
            state.is_probe_under_way |= kind == RequestKind::Probe;
            let submission = delivery.item.as_ref().ok().map(|item| item.submission);
            let ended = Ended { owner, submission, kind, signal: HealthSignal::NoSignal };
            let (consumer, slot) = (self.clone(), DeliverySlot { ended, consumer: state.ended.clone() });
            self.under_way.spawn(async move {
                let signal = consumer.handle(delivery).await;
                slot.free(signal);
            });
        }
        state.rest(self.clock.now())
    }

    /// A declared health check changes nothing, whatever the agency makes of it: it goes before the submission that would be
    /// the probe, and the first to meet an agency that is not there yet.
    fn check_health_before_probe(self: &Arc<Self>, state: &mut ConsumerState, stop: &CancellationToken) {
        if !matches!(state.breaker.circuit(), Circuit::HalfOpen { .. }) {
            state.is_found_healthy = false;
            return;
        }
        if state.is_found_healthy || state.is_probe_under_way {
            return;
        }
        let connection = self.deliverer.connections.get(&self.adapter.agency).and_then(Result::ok);
        let Some(connection) = connection.filter(|connection| connection.adapter.probe.is_some()) else {
            state.is_found_healthy = true;
            return;
        };
        // It takes no slot: what the circuit does not keep waiting goes on meanwhile.
        state.is_probe_under_way = true;
        let ended =
            Ended { owner: None, submission: None, kind: RequestKind::HealthCheck, signal: HealthSignal::NoSignal };
        let (consumer, slot, stop) =
            (self.clone(), DeliverySlot { ended, consumer: state.ended.clone() }, stop.clone());
        self.under_way.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                signal = consumer.check_health(&connection) => slot.free(signal),
            }
        });
    }

    async fn check_health(&self, connection: &Arc<AgencyConnection>) -> HealthSignal {
        match connection.check_health_and_halt().await {
            Ok(_) => HealthSignal::Healthy,
            Err(error) => {
                let (agency, remedy) = (&self.adapter.agency, error.remedy);
                tracing::warn!(%agency, %error, remedy, "nothing is sent there yet");
                HealthSignal::Failing { retry_after: None }
            }
        }
    }

    async fn handle(&self, delivery: Delivery) -> HealthSignal {
        let Ok(item) = &delivery.item else { return HealthSignal::NoSignal };
        match deliver(&self.deliverer, &self.adapter.agency, item).await {
            Delivered::Done(signal) => {
                settled(delivery.settle.ack().await);
                failpoints::hit(Failpoint::WorkerAcked);
                signal
            }
            // Not acked: the broker delivers it again.
            Delivered::NotRecorded => HealthSignal::NoSignal,
        }
    }

    fn learn(&self, state: &mut ConsumerState, ended: Ended) {
        let Ended { owner, submission, kind, signal } = ended;
        state.busy = state.busy.saturating_sub(u32::from(kind != RequestKind::HealthCheck));
        state.is_probe_under_way &= kind == RequestKind::Ordinary;
        state.is_found_healthy &= kind != RequestKind::Probe;
        if kind == RequestKind::HealthCheck {
            state.is_found_healthy = signal == HealthSignal::Healthy;
            if !state.is_found_healthy {
                state.breaker.reopen(self.clock.now());
                self.report(state.breaker.circuit());
            }
            return;
        }
        let has_failed = match signal {
            HealthSignal::Healthy => Some(false),
            HealthSignal::Failing { .. } | HealthSignal::Unreachable => Some(true),
            HealthSignal::Responded | HealthSignal::NoSignal => None,
        };
        state.queue.ended(&owner, has_failed);
        let Some(submission) = submission else { return };
        let (now, before) = (self.clock.now(), state.breaker.circuit().clone());
        state.breaker.record_outcome(&owner, submission, self.bounded(signal), kind, now);
        match (&before, state.breaker.circuit()) {
            (Circuit::Closed, Circuit::Closed) if matches!(signal, HealthSignal::Healthy | HealthSignal::Responded) => {
                state.slow_start.grow()
            }
            (Circuit::Closed, Circuit::Closed) => {}
            // The agency was there all the time: only what waits of this office is woken.
            (before, Circuit::Closed) if !before.keeps_all_waiting() => state.slow_start.wake_all(now),
            (_, Circuit::Closed) => state.slow_start.restart(now),
            (_, Circuit::Open { .. } | Circuit::HalfOpen { .. }) => state.slow_start.pause_growth(),
        }
        let after = state.breaker.circuit();
        if before != *after {
            tracing::warn!(agency = %self.adapter.agency, ?before, ?after, "the circuit has changed");
            self.report(after);
        }
    }

    fn bounded(&self, signal: HealthSignal) -> HealthSignal {
        match signal {
            HealthSignal::Failing { retry_after: Some(asked) } => {
                HealthSignal::Failing { retry_after: Some(self.adapter.schedule.bounded(asked)) }
            }
            other => other,
        }
    }

    /// While the circuit is open, nothing that it keeps waiting stays in the queue.
    async fn hold(&self, state: &mut ConsumerState) {
        let Circuit::Open { whose, .. } = state.breaker.circuit() else { return };
        if state.hold_again_at.is_some_and(|again| Instant::now() < again) {
            return;
        }
        let meant = state.queue.take(|owner| whose.covers(owner));
        let since = state.breaker.failing_since().unwrap_or_else(|| self.clock.now());
        let Left { deliveries, error } = self.unsent_deliveries().hold_back(meant, since).await;
        let pause = if error.is_some() { PAUSE } else { SHORT_PAUSE };
        state.hold_again_at = (!deliveries.is_empty()).then(|| Instant::now() + pause);
        if let Some(error) = error {
            let (agency, count) = (&self.adapter.agency, deliveries.len());
            tracing::warn!(%agency, deliveries = count, %error, "what waits for the agency cannot be held back yet");
        }
        deliveries.into_iter().for_each(|delivery| state.queue.put(delivery));
    }

    /// What waits in the journal for the agency comes as it is needed: one as a probe, and then as many as the slow start allows.
    async fn wake(&self, state: &mut ConsumerState) {
        let (before, wanted) = match state.breaker.circuit() {
            Circuit::HalfOpen { .. } if state.wants_probe() => (Timestamp::MAX, 1),
            Circuit::Closed => {
                let Some((before, wanted)) = state.slow_start.to_wake() else { return };
                let in_hand = u32::try_from(state.queue.len()).unwrap_or(u32::MAX);
                (before, wanted.saturating_sub(in_hand))
            }
            Circuit::Open { .. } | Circuit::HalfOpen { .. } => return,
        };
        if wanted == 0 || !state.slow_start.may_wake() {
            return;
        }
        let (agency, failures) = (&self.adapter.agency, state.breaker.failures());
        match self.deliverer.recorder.submissions.wake(agency, before, wanted, &failures).await {
            Ok(woken) => {
                state.slow_start.woken(woken.len());
                let least = woken.into_iter().map(|office| failures.get(&office).copied().unwrap_or_default()).min();
                let Some(failures) = least else { return };
                state.awaited_probe = Some(AwaitedProbe { failures, until: Instant::now() + PAUSE });
            }
            Err(error) => {
                state.slow_start.wake_later();
                tracing::warn!(%agency, %error, "what waits cannot be woken yet");
            }
        }
    }

    /// What is in the queue is put back unharmed.
    async fn leave(&self, state: &mut ConsumerState, mut deliveries: Deliveries) {
        deliveries.urgent.close();
        deliveries.ordinary.close();
        while let Some(delivery) = next(&mut deliveries).await {
            state.queue.put(delivery);
        }
        self.unsent_deliveries().put_back(state.queue.take(|_| true)).await;
        self.metrics.in_hand(&self.adapter.agency, 0);
    }

    fn halted_connection(&self) -> Option<Arc<AgencyConnection>> {
        self.deliverer
            .connections
            .get(&self.adapter.agency)?
            .ok()
            .filter(|connection| connection.check_identity(self.clock.now()).is_err())
    }

    fn standstill<'a>(&'a self, connection: &'a AgencyConnection) -> Standstill<'a> {
        Standstill {
            agency: &self.adapter.agency,
            connection,
            submissions: &self.deliverer.recorder.submissions,
            clock: &*self.clock,
            metrics: &self.metrics,
        }
    }

    fn unsent_deliveries(&self) -> UnsentDeliveries<'_> {
        UnsentDeliveries { adapter: &self.adapter, deliverer: &self.deliverer, clock: &*self.clock }
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

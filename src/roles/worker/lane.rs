//! One agency's lane: its deliveries come in, as many at once and as fast as the agency bears; while its circuit is open,
//! nothing is taken from its queue.

use super::{Breaker, Circuit};
use crate::{
    adapter::Adapter,
    broker::{Broker, Deliveries, Delivery},
    crash::{self, Point},
    domain::{Clock, Event, Forbidden, StateName, SubmissionId},
    journal::{Entry, JournalError},
    road::{Delivered, Line, Road, Sign},
    telemetry::{BreakerState, Metrics},
};
use jiff::Timestamp;
use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::{Notify, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::{Service, ServiceBuilder, ServiceExt, limit::GlobalConcurrencyLimitLayer, util::BoxCloneService};

pub struct Lane {
    adapter: Arc<Adapter>,
    broker: Arc<dyn Broker>,
    road: Arc<Road>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    breaker: Mutex<Breaker>,
    /// The circuit has changed.
    changed: Notify,
    places: Arc<Semaphore>,
    under_way: TaskTracker,
}

type Finished = Pin<Box<dyn Future<Output = Result<(), std::convert::Infallible>> + Send>>;

/// After the broker or the journal has failed.
const PAUSE: Duration = Duration::from_secs(1);

impl Lane {
    pub fn new(
        adapter: Arc<Adapter>,
        broker: Arc<dyn Broker>,
        road: Arc<Road>,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Arc<Self> {
        let breaker = Mutex::new(Breaker::new(adapter.breaker));
        let places = Arc::new(Semaphore::new(adapter.limits.concurrency.get() as usize));
        let (changed, under_way) = (Notify::new(), TaskTracker::new());
        Arc::new(Self { adapter, broker, road, clock, metrics, breaker, changed, places, under_way })
    }

    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            // Not before the journal is known to be the one that the installation has worked with.
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.road.marks.until_may_send() => {}
            }
            if let Some(line) = self.halted_line() {
                self.stand_still(&line, &stop).await;
                continue;
            }
            match self.circuit() {
                Circuit::Open { until } => self.rest(until, &stop).await,
                Circuit::HalfOpen => self.take(1, &stop).await,
                Circuit::Closed { .. } => {
                    let places = self.adapter.limits.concurrency.get().min(u32::from(u16::MAX));
                    self.take(places as u16, &stop).await;
                }
            }
        }
        self.under_way.close();
        self.under_way.wait().await;
    }

    /// While the agency does not take our certificate, nothing is taken from its queue, and no submission is the probe.
    async fn stand_still(&self, line: &Line, stop: &CancellationToken) {
        self.metrics.halted(&self.adapter.agency, true);
        while let Some(halted) = line.halt.halted() {
            if halted.next_look <= Instant::now() {
                line.look_again().await;
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PAUSE.min(halted.next_look.saturating_duration_since(Instant::now()))) => {}
            }
        }
        self.metrics.halted(&self.adapter.agency, false);
    }

    fn halted_line(&self) -> Option<Arc<Line>> {
        self.road.lines.get(&self.adapter.agency)?.ok().filter(|line| line.halt.halted().is_some())
    }

    /// Takes deliveries until the circuit changes or the process stops. What is in hand then is put back unharmed.
    async fn take(self: &Arc<Self>, prefetch: u16, stop: &CancellationToken) {
        let mut deliveries = match self.broker.consume(&self.adapter.agency, prefetch).await {
            Ok(deliveries) => deliveries,
            Err(error) => {
                tracing::warn!(agency = %self.adapter.agency, %error, "cannot consume");
                return self.pause(stop).await;
            }
        };
        let is_probe = prefetch == 1 && matches!(self.circuit(), Circuit::HalfOpen);
        if is_probe {
            self.probe(&mut deliveries, stop).await;
        } else {
            self.serve(&mut deliveries, stop).await;
        }
        self.put_back(deliveries).await;
    }

    /// One submission decides whether the circuit closes.
    async fn probe(self: &Arc<Self>, deliveries: &mut Deliveries, stop: &CancellationToken) {
        let delivery = tokio::select! {
            () = stop.cancelled() => return,
            delivery = next(deliveries) => delivery,
        };
        if let Some(delivery) = delivery {
            self.clone().handle(delivery).await;
        }
    }

    async fn serve(self: &Arc<Self>, deliveries: &mut Deliveries, stop: &CancellationToken) {
        // Each delivery goes through the stack: first a place, then its turn, then the road.
        let lane = self.clone();
        let handle = tower::service_fn(move |delivery: Delivery| -> Finished {
            let lane = lane.clone();
            Box::pin(async move {
                lane.handle(delivery).await;
                Ok(())
            })
        });
        let placed = ServiceBuilder::new()
            .layer(GlobalConcurrencyLimitLayer::with_semaphore(self.places.clone()))
            .service(BoxCloneService::new(handle));
        match self.adapter.limits.requests_per_second {
            None => self.feed(placed, deliveries, stop).await,
            Some(rate) => {
                let paced = ServiceBuilder::new().rate_limit(rate.get().into(), Duration::from_secs(1)).service(placed);
                self.feed(paced, deliveries, stop).await;
            }
        }
    }

    async fn feed<S>(self: &Arc<Self>, mut stack: S, deliveries: &mut Deliveries, stop: &CancellationToken)
    where
        S: Service<Delivery>,
        S::Future: Send + 'static,
        S::Error: std::fmt::Debug,
    {
        loop {
            let changed = self.changed.notified();
            let is_halted = self.halted_line().is_some();
            if stop.is_cancelled() || is_halted || !matches!(self.circuit(), Circuit::Closed { .. }) {
                return;
            }
            // A place comes before a message: what is not taken yet can still be overtaken by an urgent one.
            let delivery = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = changed => continue,
                () = self.road.marks.until_held() => return,
                delivery = async { stack.ready().await.ok()?; next(deliveries).await } => delivery,
            };
            let Some(delivery) = delivery else { return self.pause(stop).await };
            let finished = stack.call(delivery);
            self.under_way.spawn(async move { drop(finished.await) });
        }
    }

    async fn handle(self: Arc<Self>, delivery: Delivery) {
        let sign = match &delivery.item {
            Err(poison) => {
                tracing::error!(agency = %self.adapter.agency, %poison, "a message goes to the dead letters");
                settled(delivery.settle.reject().await);
                Sign::None
            }
            Ok(item) => match self.road.deliver(&self.adapter.agency, item).await {
                Delivered::Done(sign) => {
                    settled(delivery.settle.ack().await);
                    crash::here(Point::WorkerAcked);
                    sign
                }
                // Not acked: the broker delivers it again.
                Delivered::NotRecorded => Sign::None,
            },
        };
        self.learn(sign);
        if self.halted_line().is_some() {
            self.changed.notify_waiters();
        }
    }

    fn learn(&self, sign: Sign) {
        let (before, after) = {
            let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
            let before = breaker.circuit();
            breaker.learn(sign, self.clock.now());
            (before, breaker.circuit())
        };
        if std::mem::discriminant(&before) != std::mem::discriminant(&after) {
            tracing::warn!(agency = %self.adapter.agency, ?before, ?after, "the circuit has changed");
            self.report(after);
            self.changed.notify_waiters();
        }
    }

    fn circuit(&self) -> Circuit {
        let circuit = self.breaker.lock().unwrap_or_else(PoisonError::into_inner).tick(self.clock.now());
        self.report(circuit);
        circuit
    }

    fn report(&self, circuit: Circuit) {
        let state = match circuit {
            Circuit::Closed { .. } => BreakerState::Closed,
            Circuit::HalfOpen => BreakerState::HalfOpen,
            Circuit::Open { .. } => BreakerState::Open,
        };
        self.metrics.breaker(&self.adapter.agency, state);
    }

    /// Puts what is in hand into the journal's outbox, so that the pause costs no message a redelivery.
    async fn put_back(&self, mut deliveries: Deliveries) {
        let not_before = match self.circuit() {
            Circuit::Open { until } => Some(until),
            Circuit::Closed { .. } | Circuit::HalfOpen => None,
        };
        deliveries.urgent.close();
        deliveries.ordinary.close();
        while let Some(delivery) = next(&mut deliveries).await {
            let Ok(item) = &delivery.item else { continue };
            let recorded = self.requeued(item.submission, not_before).await;
            crash::here(Point::WorkerPutBack);
            match recorded {
                // It came before the journal knew of its confirm, and the journal counts on it being in the queue.
                Err(JournalError::Forbidden(Forbidden { state: StateName::Accepted, .. })) => drop(delivery),
                Ok(_) | Err(JournalError::Forbidden(_)) => settled(delivery.settle.ack().await),
                Err(error) => tracing::warn!(submission = %item.submission, %error, "left to the broker"),
            }
        }
    }

    /// Only what is in the queue: a message that came twice may speak of something that waits for its retry, and a retry
    /// keeps its time.
    async fn requeued(&self, id: SubmissionId, not_before: Option<Timestamp>) -> Result<(), JournalError> {
        let found = self.road.journal().find(id).await?;
        let state = found.map(|record| record.progress.state.name());
        if state.is_some_and(|state| !matches!(state, StateName::Accepted | StateName::Queued)) {
            return Ok(());
        }
        let entry = Entry { not_before, ..Entry::new(Event::Requeued, self.clock.now()) };
        self.road.journal().record(id, entry).await.map(drop)
    }

    async fn rest(&self, until: Timestamp, stop: &CancellationToken) {
        let wait = Duration::try_from(until.duration_since(self.clock.now())).unwrap_or_default();
        // Injected time may jump, so the clock is asked again before long.
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(wait.min(PAUSE)) => {}
        }
    }

    async fn pause(&self, stop: &CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// Urgent ones first. `None` once both queues have ended.
async fn next(deliveries: &mut Deliveries) -> Option<Delivery> {
    tokio::select! {
        biased;
        Some(urgent) = deliveries.urgent.recv() => Some(urgent),
        Some(ordinary) = deliveries.ordinary.recv() => Some(ordinary),
        else => None,
    }
}

fn settled(result: Result<(), crate::broker::BrokerError>) {
    if let Err(error) = result {
        tracing::debug!(%error, "a settlement did not reach the broker; it delivers the message again, harmlessly");
    }
}

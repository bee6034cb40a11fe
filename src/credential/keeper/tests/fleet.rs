//! Gateways that share their values.

use super::super::super::fleet::{SharedPlaces, Told};
use super::*;

/// A store that gateways share, with leases that end.
#[derive(Default)]
struct Places {
    values: Mutex<std::collections::HashMap<String, Vec<u8>>>,
    leases: Mutex<std::collections::HashMap<String, (String, Option<Instant>)>>,
    away: AtomicBool,
}

impl Places {
    fn up(&self) -> Result<(), String> {
        if self.away.load(Ordering::SeqCst) { Err("away".into()) } else { Ok(()) }
    }
}

impl SharedPlaces for Places {
    fn read<'t>(&'t self, place: &'t str) -> Told<'t, Option<Vec<u8>>> {
        Box::pin(async move { self.up().map(|()| lock(&self.values).get(place).cloned()) })
    }

    fn write<'t>(&'t self, place: &'t str, sealed: &'t [u8], _: Duration) -> Told<'t, ()> {
        Box::pin(async move { self.up().map(|()| drop(lock(&self.values).insert(place.to_owned(), sealed.to_vec()))) })
    }

    fn lease<'t>(&'t self, place: &'t str, holder: &'t str, life: Duration) -> Told<'t, bool> {
        Box::pin(async move {
            self.up()?;
            let mut leases = lock(&self.leases);
            if leases.get(place).is_some_and(|(_, end)| end.is_some_and(|end| Instant::now() < end)) {
                return Ok(false);
            }
            leases.insert(place.to_owned(), (holder.to_owned(), Some(Instant::now() + life)));
            Ok(true)
        })
    }

    fn release<'t>(&'t self, place: &'t str, holder: &'t str) -> Told<'t, ()> {
        Box::pin(async move { self.up().map(|()| lock(&self.leases).retain(|at, (by, _)| at != place || by != holder)) })
    }
}

fn fleet(places: &Arc<Places>, count: usize, life: i64) -> (Arc<Vendor>, Vec<Rig>) {
    let vendor = Vendor::new(life);
    let seal = Arc::new(crate::store::Seal::new(&Secret::new("k".repeat(32))).expect("seal"));
    let rigs = (0..count).map(|number| {
        let fleet = Fleet { places: places.clone(), seal: seal.clone(), identity: b"a".to_vec(), holder: number.to_string() };
        rig_of(&vendor, Scope::Route, T0, (&plenty(), None, Some(fleet)))
    });
    let rigs = rigs.collect();
    (vendor, rigs)
}

async fn pass_all(rigs: &[Rig], seconds: u64) {
    for _ in 0..seconds {
        tokio::time::sleep(Duration::from_secs(1)).await;
        rigs.iter().for_each(|rig| rig.clock.set(rig.now().plus(1)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_fleet_makes_one_call_a_value() {
    let places = Arc::<Places>::default();
    let (vendor, rigs) = fleet(&places, 5, 1000);
    pass_all(&rigs, 2).await;
    let values = |rigs: &[Rig]| {
        let value = |rig: &Rig| rig.credential.ready(rig.now()).map(|held| held.value.expose().clone());
        rigs.iter().map(value).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(values(&rigs), [Some("canary-1".to_owned())].into());
    pass_all(&rigs, 3000).await;
    assert!((4..=6).contains(&lock(&vendor.calls).len()), "{:?}", lock(&vendor.calls));
    assert_eq!(vendor.most_busy.load(Ordering::SeqCst), 1);
    assert!(lock(&places.values).values().all(|sealed| !sealed.windows(6).any(|part| part == b"canary")));
}

#[tokio::test(start_paused = true)]
async fn a_fleet_outlives_its_store_and_a_gateway_that_dies_with_the_lease() {
    let places = Arc::<Places>::default();
    let (vendor, rigs) = fleet(&places, 2, 1000);
    pass_all(&rigs, 1).await;
    lock(&places.leases)
        .extend(lock(&places.values).keys().map(|place| (place.clone(), ("dead".into(), Some(Instant::now() + Duration::from_secs(15))))));
    let held = rigs[0].credential.ready(rigs[0].now()).expect("a value");
    let begun = Instant::now();
    assert!(held.rejected(rigs[0].now()).await.is_err(), "waits as long as a request may");
    pass_all(&rigs, 20).await;
    assert_eq!(rigs[0].credential.ready(rigs[0].now()).expect("another").value.expose(), "canary-2");
    assert!(begun.elapsed() < Duration::from_secs(25));
    places.away.store(true, Ordering::SeqCst);
    rigs[1].credential.renew();
    pass_all(&rigs, 2).await;
    assert_eq!(lock(&vendor.calls).len(), 3, "by itself");
}

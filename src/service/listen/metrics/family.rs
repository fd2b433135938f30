//! One metric of many things, as a family of Prometheus: all samples under one name.

use inosync_actors::status::{BOUNDS, DeliveryTimes};
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

/// A row of a table: one metric of each thing of a kind.
pub(super) struct MetricRow<T: 'static> {
    /// The name; that of a counter ends in `_total`.
    pub name: &'static str,
    pub help: &'static str,
    pub read: Read<T>,
}

/// The kind of a metric, with a function that reads the value. The metric is left out for `None`.
pub(super) enum Read<T: 'static> {
    /// A number that only grows until the daemon restarts.
    Counter(fn(&T) -> Option<f64>),
    /// A number that goes up and down.
    Gauge(fn(&T) -> Option<f64>),
    /// A gauge for each set of values of these labels.
    Labelled(&'static [&'static str], Values<T>),
    /// Times, by how long they are.
    Histogram(fn(&T) -> &DeliveryTimes),
}

/// Sets of label values, each with the value of its gauge.
pub(super) type Values<T> = fn(&T) -> Vec<(Vec<String>, f64)>;

/// The labels that tell one thing from another, each with its value.
pub(super) type Labels<'a> = Vec<(&'static str, &'a str)>;

impl<T> MetricRow<T> {
    /// The samples of these things; `None` if there are none.
    pub(super) fn family(&self, things: &[(Labels<'_>, &T)]) -> Option<MetricFamily> {
        let mut samples: Vec<Metric> = things.iter().flat_map(|(labels, thing)| self.samples(labels, thing)).collect();
        samples.sort_by(|one, other| values(one).cmp(values(other)));
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(match self.read {
            Read::Counter(_) => MetricType::COUNTER,
            Read::Gauge(_) | Read::Labelled(..) => MetricType::GAUGE,
            Read::Histogram(_) => MetricType::HISTOGRAM,
        });
        let is_any = !samples.is_empty();
        family.set_metric(samples);
        is_any.then_some(family)
    }

    fn samples(&self, labels: &Labels<'_>, thing: &T) -> Vec<Metric> {
        match self.read {
            Read::Counter(read) => read(thing).map(|value| counter(labels, value)).into_iter().collect(),
            Read::Gauge(read) => read(thing).map(|value| gauge(labels, value)).into_iter().collect(),
            Read::Labelled(own, read) => {
                let sample = |(values, value): (Vec<String>, f64)| {
                    let more = own.iter().copied().zip(values.iter().map(String::as_str));
                    gauge(&labels.iter().copied().chain(more).collect(), value)
                };
                read(thing).into_iter().map(sample).collect()
            }
            Read::Histogram(read) => vec![histogram(labels, read(thing))],
        }
    }
}

/// A sample without a value. Its labels are in the order of their names.
fn sample(labels: &Labels<'_>) -> Metric {
    let mut labels = labels.clone();
    labels.sort_unstable();
    let pair = |(name, value): (&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    };
    Metric::from_label(labels.into_iter().map(pair).collect())
}

/// The values of the labels, in the order of their names.
fn values(sample: &Metric) -> impl Iterator<Item = &str> {
    sample.get_label().iter().map(LabelPair::value)
}

fn counter(labels: &Labels<'_>, value: f64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(value);
    let mut metric = sample(labels);
    metric.set_counter(counter);
    metric
}

fn gauge(labels: &Labels<'_>, value: f64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut metric = sample(labels);
    metric.set_gauge(gauge);
    metric
}

fn histogram(labels: &Labels<'_>, times: &DeliveryTimes) -> Metric {
    let bucket = |&bound: &f64| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound);
        bucket.set_cumulative_count(times.within(bound));
        bucket
    };
    let mut histogram = Histogram::default();
    histogram.set_sample_count(times.count);
    histogram.set_sample_sum(times.seconds);
    histogram.set_bucket(BOUNDS.iter().map(bucket).collect());
    let mut metric = sample(labels);
    metric.set_histogram(histogram);
    metric
}

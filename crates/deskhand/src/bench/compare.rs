//! Several programs measured in turn by the same cases, and ours put beside each other one.

use super::{BenchError, Options, Row, median};
use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

/// Whether a greater or a smaller value is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    More,
    Less,
}

/// What a case measured of one program.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
    pub(crate) value: f64,
}

impl Figure {
    pub(crate) fn more(name: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Self { name: name.into(), unit, better: Better::More, value }
    }

    pub(crate) fn less(name: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Self { name: name.into(), unit, better: Better::Less, value }
    }
}

/// What a figure of one case is held to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) case: &'static str,
    pub(crate) bound: Bound,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    /// Our own figure.
    AtMost(f64),
    /// How many times better ours is than that of the subject of this name.
    Ratio(&'static str, f64),
}

impl Budget {
    pub(crate) const fn at_most(case: &'static str, most: f64) -> Self {
        Self { case, bound: Bound::AtMost(most) }
    }

    pub(crate) const fn ratio(case: &'static str, against: &'static str, least: f64) -> Self {
        Self { case, bound: Bound::Ratio(against, least) }
    }
}

/// A bench: its name and what its cases are held to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bench {
    pub(crate) name: &'static str,
    pub(crate) budgets: &'static [Budget],
}

impl Bench {
    /// Measures all subjects in turn, several times. The first subject is ours.
    pub(crate) fn compare<S>(
        self,
        options: &Options,
        subjects: &[(&'static str, S)],
        emit: &mut dyn FnMut(Row),
        mut case: impl FnMut(&S, Duration) -> Result<Vec<Figure>, BenchError>,
    ) -> Result<(), BenchError> {
        let mut runs: Vec<Vec<Vec<Figure>>> = subjects.iter().map(|_| Vec::new()).collect();
        for _ in 0..options.runs.max(1) {
            for ((_, subject), runs) in subjects.iter().zip(&mut runs) {
                runs.push(case(subject, options.time)?);
            }
        }
        let Some(figures) = runs.first().and_then(|ours| ours.first()).cloned() else { return Ok(()) };
        for (n, figure) in figures.iter().enumerate() {
            // A case may measure less of the others than of ours.
            let values = subjects.iter().zip(&runs).filter_map(|((name, _), runs)| {
                let values: Vec<f64> = runs.iter().filter_map(|run| Some(run.get(n)?.value)).collect();
                (!values.is_empty()).then(|| (*name, median(values)))
            });
            self.rows(figure, values, emit);
        }
        Ok(())
    }

    /// A row that is not met for every case that was to be measured and held to a budget, and was not:
    /// nothing passes because it could not be tried.
    pub(crate) fn missing(self, options: &Options, measured: &HashSet<String>, emit: &mut dyn FnMut(Row)) {
        let cases: BTreeSet<&str> = self.budgets.iter().map(|budget| budget.case).collect();
        for case in cases {
            if options.wants(self.name, case) && !measured.contains(case) {
                emit(Row {
                    bench: self.name,
                    case: case.to_owned(),
                    value: f64::NAN,
                    unit: "not measured",
                    against: None,
                    ratio: None,
                    budget: Some("a figure".to_owned()),
                    ok: false,
                });
            }
        }
    }

    /// One row for our value, and one for each other that it is compared with. Ours comes first.
    pub(crate) fn rows(
        self,
        figure: &Figure,
        values: impl IntoIterator<Item = (&'static str, f64)>,
        emit: &mut dyn FnMut(Row),
    ) {
        let mut values = values.into_iter();
        let Some((_, ours)) = values.next() else { return };
        let bounds = || self.budgets.iter().filter(|b| b.case == figure.name).map(|b| b.bound);
        let row = |value: f64| Row {
            bench: self.name,
            case: figure.name.clone(),
            value: significant(value),
            unit: figure.unit,
            against: None,
            ratio: None,
            budget: None,
            ok: true,
        };
        let most = bounds().find_map(|bound| if let Bound::AtMost(most) = bound { Some(most) } else { None });
        emit(Row {
            budget: most.map(|most| format!("<= {most}")),
            ok: most.is_none_or(|most| ours <= most),
            ..row(ours)
        });
        for (name, theirs) in values {
            let ratio = if figure.better == Better::More { ours / theirs } else { theirs / ours };
            let least = bounds().find_map(|bound| match bound {
                Bound::Ratio(against, least) if against == name => Some(least),
                _ => None,
            });
            emit(Row {
                against: Some(name.into()),
                ratio: ratio.is_finite().then(|| significant(ratio)),
                budget: least.map(|least| format!(">= {least}")),
                ok: least.is_none_or(|least| ratio >= least),
                ..row(theirs)
            });
        }
    }
}

/// Four digits: more is noise.
fn significant(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let scale = 10f64.powi(3 - value.abs().log10().floor() as i32);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    const BENCH: Bench =
        Bench { name: "test", budgets: &[Budget::at_most("time", 2.0), Budget::ratio("time", "bare", 0.5)] };

    fn rows(ours: [f64; 3], bare: f64) -> Vec<Row> {
        let options = Options { target: None, time: Duration::ZERO, runs: 3, only: None };
        let (mut ours, mut rows) = (ours.into_iter(), Vec::new());
        let subjects = [("ours", true), ("bare", false)];
        BENCH
            .compare(&options, &subjects, &mut |row| rows.push(row), |is_ours, _| {
                let value = if *is_ours { ours.next().unwrap_or_default() } else { bare };
                Ok(vec![Figure::less("time", "ms", value)])
            })
            .expect("no case fails");
        rows
    }

    #[test]
    fn the_median_counts_and_is_held_to_its_budgets() {
        let good = rows([1.5, 100.0, 0.5], 0.9);
        assert_eq!((good[0].value, good[0].budget.as_deref(), good[0].ok), (1.5, Some("<= 2"), true));
        assert_eq!(good[1].against.as_deref(), Some("bare"));
        assert_eq!((good[1].value, good[1].ratio, good[1].ok), (0.9, Some(0.6), true));
        let bad = rows([2.5, 100.0, 0.5], 1.0);
        assert_eq!((bad[0].ok, bad[1].ratio, bad[1].ok), (false, Some(0.4), false));
    }

    #[test]
    fn a_budget_whose_case_was_not_measured_is_not_met() {
        let mut options = Options { target: None, time: Duration::ZERO, runs: 1, only: None };
        let missing = |options: &Options, measured: &[&str]| {
            let mut rows = Vec::new();
            let measured = measured.iter().map(|case| (*case).to_owned()).collect();
            BENCH.missing(options, &measured, &mut |row| rows.push(row));
            rows
        };
        let rows = missing(&options, &["another"]);
        assert_eq!(rows.iter().map(|row| (&*row.case, row.ok)).collect::<Vec<_>>(), [("time", false)]);
        assert!(serde_json::to_string(&rows[0]).expect("a line").contains(r#""value":null"#));
        assert!(missing(&options, &["time"]).is_empty());
        options.only = Some("another bench".to_owned());
        assert!(missing(&options, &[]).is_empty(), "it was not asked for");
    }

    #[test]
    fn values_keep_four_digits() {
        assert_eq!([12_345.6, 0.001_234_56, 0.0].map(significant), [12_350.0, 0.001_235, 0.0]);
    }
}

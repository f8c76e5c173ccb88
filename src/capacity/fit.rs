//! From probes to an answer: where the share of turns over the budget crosses what is allowed, and how sure that is.
//!
//! The share over the budget rises with the load. Its log-odds are taken to be a straight line in the logarithm of the load,
//! near the crossing; the line is fitted to all probes there, each with the weight of its turns. The interval is Fieller's,
//! as for effective doses (D. J. Finney, *Probit Analysis*, 3rd ed. 1971, ch. 4; E. C. Fieller, J. R. Stat. Soc. B 16
//! (1954) 175–185), widened when the probes scatter more about the line than their turns explain.

/// The normal distribution's 97.5th percentile.
const Z: f64 = 1.959_964;

/// A crossing this far beyond the probes is none.
const REACH: f64 = 1.2;

/// Steps of the fit; it converges in five or six.
const STEPS: u32 = 50;

/// A load, and how many turns were over the budget under it (worth so many independent ones).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The load.
    pub load: f64,
    /// Turns over the budget.
    pub over: f64,
    /// Turns.
    pub of: f64,
}

/// Where the share crosses what is allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Crossing {
    /// The load.
    pub at: f64,
    /// Lower end of its 95 % interval; 0: there is none.
    pub low: f64,
    /// Upper end; infinite: there is none.
    pub high: f64,
}

impl Crossing {
    /// True: its interval has both ends.
    pub fn is_bounded(&self) -> bool {
        self.low > 0.0 && self.high.is_finite()
    }
}

/// The crossing; `None` when the probes do not say where it is: too few, or no clear rise.
pub fn crossing(points: &[Point], allowed: f64) -> Option<Crossing> {
    let points: Vec<Point> = points.iter().copied().filter(|p| p.of > 0.0 && p.load > 0.0).collect();
    let first = points.first()?;
    if points.iter().all(|p| p.load == first.load) || !(allowed > 0.0 && allowed < 1.0) {
        return None;
    }
    let centre = points.iter().map(|p| p.load.ln()).sum::<f64>() / points.len() as f64;
    // A turn's worth of the allowed share keeps a line finite where all or none were over the budget.
    let data: Vec<(f64, f64, f64)> = points
        .iter()
        .map(|p| (p.load.ln() - centre, (p.over + allowed) / (p.of + 1.0), p.of + 1.0))
        .collect();
    let target = (allowed / (1.0 - allowed)).ln();
    let (mut a, mut b) = (target, 1.0);
    let mut information = [0.0; 3];
    for _ in 0..STEPS {
        let (mut gradient, mut sums) = ([0.0; 2], [0.0; 3]);
        for (x, y, n) in &data {
            let p = 1.0 / (1.0 + (-(a + b * x)).exp());
            let w = n * (p * (1.0 - p)).max(1e-12);
            gradient[0] += n * (y - p);
            gradient[1] += n * (y - p) * x;
            sums[0] += w;
            sums[1] += w * x;
            sums[2] += w * x * x;
        }
        let determinant = sums[0] * sums[2] - sums[1] * sums[1];
        if determinant <= 0.0 || !determinant.is_finite() {
            return None;
        }
        let step = [
            (sums[2] * gradient[0] - sums[1] * gradient[1]) / determinant,
            (sums[0] * gradient[1] - sums[1] * gradient[0]) / determinant,
        ];
        information = sums;
        // Long steps leave the place where the line is one.
        a += step[0].clamp(-4.0, 4.0);
        b += step[1].clamp(-40.0, 40.0);
        if step.iter().all(|s| s.abs() < 1e-9) {
            break;
        }
    }
    let [s0, s1, s2] = information;
    let determinant = s0 * s2 - s1 * s1;
    let (vaa, vab, vbb) = (s2 / determinant, -s1 / determinant, s0 / determinant);
    let z2 = widening(&data, a, b).powi(2);
    // Loads x at which a + b·x does not differ from the target.
    let (k2, k1, k0) = (b * b - z2 * vbb, b * (a - target) - z2 * vab, (a - target).powi(2) - z2 * vaa);
    let root = (k1 * k1 - k2 * k0).sqrt();
    let load = |x: f64| (x + centre).exp();
    let at = load((target - a) / b);
    let (least, most) =
        points.iter().fold((f64::MAX, 0.0_f64), |(low, high), p| (low.min(p.load), high.max(p.load)));
    // Far from every probe it is a guess.
    if b <= 0.0 || !(least / REACH..=most * REACH).contains(&at) {
        return None;
    }
    if k2 <= 0.0 || !root.is_finite() {
        // It rises, and no more is sure: the answer may lie anywhere.
        return Some(Crossing { at, low: 0.0, high: f64::INFINITY });
    }
    Some(Crossing { at: load((target - a) / b), low: load((-k1 - root) / k2), high: load((-k1 + root) / k2) })
}

/// Standard errors from the middle to the end of the interval. Points that scatter more about the line than their turns
/// explain (Pearson's χ²) widen it; and it rests on few points, which know little of their own spread (Student's t).
fn widening(data: &[(f64, f64, f64)], a: f64, b: f64) -> f64 {
    let Some(freedom) = data.len().checked_sub(2).filter(|n| *n > 0) else { return student(1) };
    let chi: f64 = data
        .iter()
        .map(|(x, y, n)| {
            let p = 1.0 / (1.0 + (-(a + b * x)).exp());
            (y - p).powi(2) * n / (p * (1.0 - p)).max(1e-12)
        })
        .sum();
    let scatter = chi / freedom as f64;
    student(freedom) * scatter.max(1.0).sqrt()
}

/// The 97.5th percentile of Student's t (M. Abramowitz, I. A. Stegun, *Handbook of Mathematical Functions*, 26.7.5).
fn student(freedom: usize) -> f64 {
    let n = freedom as f64;
    match freedom {
        0 | 1 => 12.706,
        2 => 4.303,
        3 => 3.182,
        _ => {
            Z + (Z.powi(3) + Z) / (4.0 * n) + (5.0 * Z.powi(5) + 16.0 * Z.powi(3) + 3.0 * Z) / (96.0 * n * n)
        }
    }
}

/// The Universal Scalability Law, X(N) = λN / (1 + σ(N−1) + κN(N−1)) (N. J. Gunther, *Guerrilla Capacity Planning*, 2007,
/// ch. 4): throughput against load. For the picture only: no verdict rests on it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scalability {
    /// Throughput of one.
    pub lambda: f64,
    /// What they wait for each other.
    pub sigma: f64,
    /// What they have to agree upon.
    pub kappa: f64,
}

impl Scalability {
    /// Fitted to (load, throughput) by least squares of N/X, which is a polynomial; `None` with fewer than four loads.
    pub fn fit(points: &[(f64, f64)]) -> Option<Self> {
        let points: Vec<_> = points.iter().filter(|(n, x)| *n >= 1.0 && *x > 0.0).collect();
        if points.len() < 4 {
            return None;
        }
        // Neither term speeds anything up: one that would is left out.
        [[true, true], [true, false], [false, true], [false, false]]
            .into_iter()
            .filter_map(|terms| {
                let c = least_squares(&points, terms)?;
                let law = Self { lambda: 1.0 / c[0], sigma: c[1] / c[0], kappa: c[2] / c[0] };
                let possible = c[0] > 0.0 && law.sigma >= 0.0 && law.kappa >= 0.0;
                let miss: f64 = points.iter().map(|(n, x)| (law.at(*n) / x - 1.0).powi(2)).sum();
                possible.then_some((miss, law))
            })
            .min_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, law)| law)
    }

    /// Throughput at a load.
    pub fn at(&self, n: f64) -> f64 {
        self.lambda * n / (1.0 + self.sigma * (n - 1.0) + self.kappa * n * (n - 1.0))
    }
}

/// N/X as a polynomial, with or without its second and third term; relative errors count, as N/X grows with N.
fn least_squares(points: &[&(f64, f64)], terms: [bool; 2]) -> Option<[f64; 3]> {
    let mut m = [[0.0_f64; 4]; 3];
    for (n, x) in points {
        let (y, w) = (n / x, (x / n).powi(2));
        let row = [1.0, n - 1.0, n * (n - 1.0)];
        for i in 0..3 {
            for j in 0..3 {
                m[i][j] += w * row[i] * row[j];
            }
            m[i][3] += w * row[i] * y;
        }
    }
    for (i, _) in (1..).zip(terms).filter(|(_, there)| !there) {
        m.iter_mut().for_each(|row| row[i] = 0.0);
        m[i] = [0.0; 4];
        m[i][i] = 1.0;
    }
    solve(m)
}

/// Three equations by elimination.
fn solve(mut m: [[f64; 4]; 3]) -> Option<[f64; 3]> {
    for i in 0..3 {
        let pivot = (i..3).max_by(|a, b| m[*a][i].abs().total_cmp(&m[*b][i].abs()))?;
        m.swap(i, pivot);
        let lead = m[i];
        if lead[i].abs() < 1e-300 {
            return None;
        }
        for (k, row) in m.iter_mut().enumerate().filter(|(k, _)| *k != i) {
            debug_assert_ne!(k, i);
            let factor = row[i] / lead[i];
            row.iter_mut().zip(lead).for_each(|(cell, l)| *cell -= factor * l);
        }
    }
    Some([m[0][3] / m[0][0], m[1][3] / m[1][1], m[2][3] / m[2][2]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    /// Shares as a line in log-odds has them: 5 % at 400, steep.
    fn share(load: f64) -> f64 {
        let odds = (0.05_f64 / 0.95).ln() + 12.0 * (load / 400.0).ln();
        1.0 / (1.0 + (-odds).exp())
    }

    #[test]
    fn a_line_is_found_where_it_is() {
        let points: Vec<_> =
            [320.0, 380.0, 420.0, 450.0].map(|load| Point { load, over: share(load) * 1e4, of: 1e4 }).into();
        let c = crossing(&points, 0.05).unwrap();
        assert!((c.at - 400.0).abs() < 1.0 && c.low > 390.0 && c.high < 410.0, "{c:?}");
        assert!(c.low < c.at && c.at < c.high);
    }

    #[test]
    fn intervals_hold_the_truth_as_often_as_they_say() {
        let mut r = Seed(5).stream("probes", 0);
        let (mut held, mut made) = (0, 0);
        for _ in 0..400 {
            let points: Vec<_> = [330.0, 370.0, 400.0, 415.0, 440.0]
                .map(|load| Point {
                    load,
                    over: (0..300).filter(|_| r.chance(share(load))).count() as f64,
                    of: 300.0,
                })
                .into();
            let Some(c) = crossing(&points, 0.05) else { continue };
            made += 1;
            held += u32::from(c.low <= 400.0 && 400.0 <= c.high);
        }
        assert!(made > 380 && f64::from(held) / f64::from(made) > 0.92, "{held} of {made}");
    }

    #[test]
    fn what_does_not_rise_has_no_crossing() {
        let flat = |n: u32| Point { load: f64::from(n), over: 20.0, of: 400.0 };
        assert_eq!(crossing(&[flat(100), flat(200), flat(300)], 0.05), None);
        assert_eq!(crossing(&[flat(100), flat(100)], 0.05), None);
        assert_eq!(crossing(&[], 0.05), None);
        // None below and all above: the line is as steep as it likes, and lies between.
        let none = Point { load: 100.0, over: 0.0, of: 400.0 };
        let all = Point { load: 105.0, over: 400.0, of: 400.0 };
        if let Some(c) = crossing(&[none, all], 0.05) {
            assert!((100.0..105.0).contains(&c.at), "{c:?}");
        }
    }

    #[test]
    fn points_that_scatter_widen_the_interval() {
        let at = |load: f64, over: f64| Point { load, over, of: 1_000.0 };
        let smooth = [at(350.0, 11.0), at(390.0, 37.0), at(410.0, 66.0), at(430.0, 110.0)];
        let rough = [at(350.0, 30.0), at(390.0, 10.0), at(410.0, 110.0), at(430.0, 90.0)];
        let width = |points: &[Point]| crossing(points, 0.05).map_or(f64::INFINITY, |c| c.high - c.low);
        assert!(width(&rough) > 2.0 * width(&smooth), "{} {}", width(&rough), width(&smooth));
    }

    #[test]
    fn students_t_is_that_of_the_tables() {
        for (n, t) in [(3, 3.182), (5, 2.571), (10, 2.228), (30, 2.042)] {
            assert!((student(n) - t).abs() < 0.03, "{n}: {}", student(n));
        }
    }

    #[test]
    fn the_scalability_law_is_recovered() {
        let law = Scalability { lambda: 2.0, sigma: 0.02, kappa: 0.000_1 };
        let points: Vec<_> = [1.0, 4.0, 16.0, 64.0, 128.0].map(|n| (n, law.at(n))).into();
        let found = Scalability::fit(&points).unwrap();
        assert!((found.at(100.0) - law.at(100.0)).abs() < 1e-6, "{found:?}");
        assert_eq!(Scalability::fit(&points[..3]), None);
        // A knee is none of its shapes, and no excuse for a line that misses what comes before.
        let knee: Vec<_> =
            [20.0, 40.0, 80.0, 113.0, 134.0, 160.0].map(|n: f64| (n, (0.58 * n).min(80.0))).into();
        let found = Scalability::fit(&knee).unwrap();
        assert!(knee.iter().all(|(n, x)| (found.at(*n) / x - 1.0).abs() < 0.15), "{found:?}");
    }
}

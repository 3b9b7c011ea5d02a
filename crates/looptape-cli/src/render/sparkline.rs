//! Small pictures of figures, one line high.

use looptape_core::metrics::Distribution;

const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// One column for each value, as high as it is large; what is 0 is a gap.
pub(crate) fn sparkline(values: &[f64]) -> String {
    let highest = values.iter().copied().fold(0.0, f64::max);
    let level = |value: f64| match highest > 0.0 && value > 0.0 {
        false => ' ',
        true => LEVELS[((value / highest * LEVELS.len() as f64).ceil() as usize).clamp(1, LEVELS.len()) - 1],
    };
    values.iter().map(|value| level(*value)).collect()
}

/// The same in at most `columns` columns: neighbours are put together, by their mean.
pub(crate) fn sparkline_within(values: &[f64], columns: usize) -> String {
    let per_column = values.len().div_ceil(columns.max(1)).max(1);
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    sparkline(&values.chunks(per_column).map(mean).collect::<Vec<_>>())
}

/// A histogram from the least value to the largest: how many values lie in each of `columns` stretches.
pub(crate) fn histogram(of: &Distribution, columns: usize) -> String {
    let counts: Vec<f64> = of.histogram(columns).iter().map(|bucket| bucket.n as f64).collect();
    sparkline(&counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_are_in_proportion() {
        assert_eq!(sparkline(&[0.0, 1.0, 4.0, 8.0]), " ▁▄█");
        assert_eq!(sparkline(&[0.0, 0.0]), "  ");
        assert_eq!(sparkline_within(&[1.0, 3.0, 8.0, 8.0], 2), "▂█");
        assert_eq!(sparkline(&[]), "");
        let steps = Distribution::of_counts([1, 1, 1, 1, 2, 2, 3]);
        assert_eq!(histogram(&steps, 8), "█▄▂");
    }
}

//! The one library of others that pages carry: it draws charts. Its licence lies beside it.

/// uPlot as one script, which defines `uPlot`.
pub const UPLOT_JS: &str = include_str!("../assets/vendor/uplot/uPlot.iife.min.js");
/// What uPlot's elements look like.
pub const UPLOT_CSS: &str = include_str!("../assets/vendor/uplot/uPlot.min.css");

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_the_version_that_is_named_and_asks_no_other_host() {
        assert!(super::UPLOT_JS.starts_with("/*! https://github.com/leeoniya/uPlot (v1.6.32) */"));
        assert!(!super::UPLOT_CSS.contains("url("));
    }
}

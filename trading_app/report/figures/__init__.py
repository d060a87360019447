"""Figures of reports and dashboards: pure functions from data frames or plain values to a Plotly figure.

None reads files. `theme` has colours and template; `focus` is the first and last date of the visible part, drawn in
detail. The title of a figure states its main result. Long series are thinned to the resolution of a screen.
``layout.meta["narrow"]`` of a figure maps paths to the values that they have on a narrow screen.
`trading_app.report.figures.backtest.BACKTEST_FIGURES` is the table of all figures of a backtest.
"""

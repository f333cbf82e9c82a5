"""Figures have as many panels as there are, and curves that do not hide each other."""

from gandistill.experiments import canvas


def test_panels_fill_rows_of_columns():
    figure, panels = canvas.grid(5, 2)
    assert len(panels) == len(figure.axes) == 5
    assert figure.get_size_inches().tolist() == [9.0, 10.5]


def test_curves_stand_beside_each_other_at_each_number_of_points():
    _, (panel,) = canvas.grid(1, 1)
    canvas.curves(panel, {"a": [(5, {"uar": 0.5}), (50, {"uar": 0.6})], "b": [(5, {"uar": 0.4})]})
    (a, b) = [container.lines[0] for container in panel.containers]
    assert a.get_ydata().tolist() == [50, 60]
    assert b.get_ydata().tolist() == [40]
    assert a.get_xdata()[0] != b.get_xdata()[0], "intervals do not hide each other"
    assert panel.get_xticks().tolist() == [5, 50]

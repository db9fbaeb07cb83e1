import json

import pytest

from protolens.report.charts import Marks
from protolens.report.learning import find_marks, learning_section, term_charts
from protolens.train import Run


def line(stage, epoch, terms, accuracy=0.5):
    validation = {"accuracy": accuracy, "balanced_accuracy": accuracy, "loss": 1.0}
    return {"stage": stage, "epoch": epoch, "terms": terms, "validation": validation, "chosen": False, "seconds": 1.0}


STAGES = [
    {"name": name, "weights": {"classification": 1.0} | extra} for name, extra in (("warm", {}), ("head", {"l1": 0.1}))
]
HISTORY = [
    *(line("warm", epoch, {"classification": 2 / epoch}) for epoch in (1, 2, 3)),
    *(line("head", epoch, {"classification": 0.02, "l1": 5.0}) for epoch in (1, 2)),
]


def test_epochs_are_counted_over_all_stages():
    chosen = [{"stage": "warm", "epoch": 3, "score": 0.5}, {"stage": "head", "epoch": 1, "score": 0.5}]
    assert find_marks(HISTORY, chosen) == Marks(chosen=(3, 4), starts=(3,))


def test_a_term_that_a_stage_does_not_have_is_left_out_there():
    charts = term_charts(HISTORY, STAGES, Marks((1, 4), (3,)))
    assert [chart.title for chart in charts] == [
        "Loss term classification (weight 1), logarithmic scale",
        "Loss term l1 (weight 0.1)",
    ]
    assert [str(value) for value in charts[1].curves[0].values] == ["nan", "nan", "nan", "5.0", "5.0"]
    assert "nan" not in charts[1].svg


@pytest.mark.parametrize(
    ("select", "said"), [("accuracy", "accuracy 92.0\xa0%"), ("loss", "loss 0.200"), ("balanced_accuracy", "82.8")]
)
def test_the_sentence_names_the_figure_that_chose_the_epoch(maker, select, said):
    made = maker()
    run = made.write()
    text = (run.folder / "config.toml").read_text()
    (run.folder / "config.toml").write_text(text.replace('select = "accuracy"', f'select = "{select}"'))
    sentence = learning_section(Run.open(run.folder))["sentence"]
    assert "12\xa0epochs took 1 min 23 s; the weights of epoch 10 were taken" in sentence
    assert said in sentence


def test_the_last_stretch_is_enlarged_where_there_is_one(maker):
    made = maker(epochs=30)
    titles = [chart.title for chart in learning_section(made.write())["charts"]]
    assert titles[:2] == ["Validation accuracy", "Validation accuracy, enlarged"]
    (made.folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in made.history()[:3]))
    assert "Validation accuracy, enlarged" not in [
        chart.title for chart in learning_section(Run.open(made.folder))["charts"]
    ]

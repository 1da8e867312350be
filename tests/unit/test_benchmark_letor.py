import numpy as np
import pytest

from benchmarks.learning.oltr.letor import DataError, Query, judged, load

NAMES = ("S1", "S2", "S3", "S4", "S5")


def write(path, grade, qid="7"):
    """Two documents with features 1 and 3; the first one's grade tells which file a query came from."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{grade} qid:{qid} 1:0.5 3:10 # docid = a\n\n0 qid:{qid} 1:0.5 3:30\n")


def marks(queries):
    return [int(query.grades[0]) for query in queries]


def test_of_five_files_three_train_and_the_one_before_them_is_held_out(tmp_path):
    for number, name in enumerate(NAMES):
        write(tmp_path / f"{name}.txt", number)
    (tmp_path / "readme.txt").write_text("Fold Training Validation Test")
    folds = load(tmp_path)
    assert [marks(fold.train) for fold in folds] == [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 0], [4, 0, 1]]
    assert [marks(fold.held_out) for fold in folds] == [[4], [0], [1], [2], [3]]


def test_folders_of_train_and_test_files(tmp_path):
    for number in (1, 2):
        write(tmp_path / f"Fold{number}" / "train.txt", number)
        write(tmp_path / f"Fold{number}" / "vali.txt", 3)
        write(tmp_path / f"Fold{number}" / "test.txt", 0)
    first, second = load(tmp_path)
    assert (marks(first.train), marks(first.held_out), marks(second.train)) == ([1], [0], [2])


@pytest.mark.parametrize(
    ("train", "test"), [("train.dat", "test.dat"), ("trainingset.txt", "testset.txt"), ("a.train.txt", "a.test.txt")]
)
def test_one_folder_with_a_train_and_a_test_file_is_one_fold(tmp_path, train, test):
    write(tmp_path / train, 1)
    write(tmp_path / test, 2)
    write(tmp_path / "validation.txt", 3)
    (only,) = load(tmp_path)
    assert (only.number, marks(only.train), marks(only.held_out)) == (1, [1], [2])


def test_only_the_wanted_folds_are_loaded_and_keep_their_numbers(tmp_path):
    for number, name in enumerate(NAMES):
        write(tmp_path / f"{name}.txt", number)
    (only,) = load(tmp_path, [4])
    assert (only.number, marks(only.held_out)) == (4, [2])
    with pytest.raises(DataError, match="no fold 6"):
        load(tmp_path, [6])


def test_features_are_scaled_within_the_query_and_missing_ones_are_nothing(tmp_path):
    text = "1 qid:1 1:2 2:7\n0 qid:1 1:6 2:7 4:1\n0 qid:1 1:3 2:7\n2 qid:2 1:100\n"
    for name in ("train.txt", "test.txt"):
        (tmp_path / name).write_text(text)
    first, second = load(tmp_path)[0].train
    np.testing.assert_allclose(first.features, [[0, 0, 0, 0], [1, 0, 0, 1], [0.25, 0, 0, 0]])
    assert second.features.tolist() == [[0, 0, 0, 0]]
    assert second.grades.tolist() == [2]


def test_features_may_be_numbered_from_zero(tmp_path):
    for name in ("train.txt", "test.txt"):
        (tmp_path / name).write_text("1 qid:1 0:2 1:7\n0 qid:1 0:6 1:8\n")
    assert load(tmp_path)[0].train[0].features.tolist() == [[0, 0], [1, 1]]


@pytest.mark.parametrize(
    "line",
    [
        "1 qid:1 1:x",
        "1 1:0.5 2:0.5",
        "relevant qid:1 1:1",
        "1 qid:1 1:nan",
        "1 qid:1 1",
        "-1 qid:1 1:1",
        "1 qid:1 -1:1",
        "1 qid:1 1e9:1",
        "1",
    ],
)
def test_a_line_that_cannot_be_read_is_named(tmp_path, line):
    write(tmp_path / "train.txt", 1)
    (tmp_path / "test.txt").write_text(f"0 qid:1 1:1\n{line}\n")
    with pytest.raises(DataError, match=r"test\.txt, line 2"):
        load(tmp_path)


def test_missing_data_is_said(tmp_path):
    with pytest.raises(DataError, match="is not a folder"):
        load(tmp_path / "nothing")
    with pytest.raises(DataError, match="holds 0 data files"):
        load(tmp_path)
    for name in ("train.txt", "test.txt"):
        (tmp_path / name).write_text("# empty\n")
    with pytest.raises(DataError, match="holds no query"):
        load(tmp_path)


def test_queries_without_a_relevant_document_are_not_judged():
    features = np.zeros((2, 1), np.float32)
    hit, miss = Query(features, np.array([0, 2], np.int32)), Query(features, np.zeros(2, np.int32))
    assert list(judged([miss, hit, miss])) == [hit]

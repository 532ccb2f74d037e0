import unicodedata

import pytest

from langwright.evaluation import follows_format, num_sentences


def reasons(term, answer, ended=True, tokens=30):
    verdict = follows_format(term, answer, ended, tokens)
    assert verdict.ok == (not verdict.reasons)
    return verdict.reasons


@pytest.mark.parametrize(
    ("term", "answer"),
    [
        ("Paris", "Paris is the capital of France."),
        ("paris", "Paris is the capital of France. It lies on the Seine."),
        ("Eiffel Tower", "The Eiffel Tower is a lattice tower."),
        ("apple", "An apple is a fruit."),
        ("The Hague", "The Hague is a city."),
        ("A", "A is the first letter of the Latin alphabet."),
        ("A", "The A is a train in New York."),
        (
            "E. E. Cummings",
            "E. E. Cummings (1894–1962) was an American poet. He wrote 2,900 poems.",
        ),
        ("C++", "C++ is a programming language. It was designed by Bjarne Stroustrup."),
        ("C", "C is a language."),
        ("Who's Afraid?", "Who’s Afraid? is a play. It opened in 1962."),
        ("Mercury (planet)", "Mercury (planet) is the first planet from the Sun."),
        ("Åland", "Åland is an archipelago."),
        ("Émile Zola", unicodedata.normalize("NFD", "Émile Zola was a novelist.")),
        ("हिन्दी", "हिन्दी is a language."),
        ("東京", "東京 is the capital of Japan."),
        ("Yahoo!", "Yahoo! is a web portal."),
        ("Einstein", "Einstein's field equations made him famous."),
        ("New  York", "New York is a city"),
    ],
)
def test_accepts_a_good_answer(term, answer):
    assert reasons(term, answer) == ()


@pytest.mark.parametrize(
    ("term", "answer", "rule"),
    [
        ("Paris", "London is the capital of England.", "term"),
        ("Paris", "Parisian cafés are famous.", "term"),
        ("Paris", "Well, Paris is a city.", "term"),
        ("C", "C++ is a language.", "term"),
        ("C", "C# is a language.", "term"),
        ("हिन्द", "हिन्दी is a language.", "term"),
        ("cafe", unicodedata.normalize("NFD", "Café is a word."), "term"),
        ("a.b", "axb is a name.", "term"),
        ("Paris", "These Paris streets are old.", "term"),
        ("Paris", "Paris is big. It is old. It is loud.", "sentences"),
        ("Paris", "Paris.", "sentences"),
        ("Paris", "Paris is:\n- big\n- old", "sentences"),
        ("E. E. Cummings", "E. E. Cummings", "sentences"),
        ("Who's Afraid?", "Who's Afraid? One. Two. Three.", "sentences"),
    ],
)
def test_names_the_broken_rule(term, answer, rule):
    assert reasons(term, answer) == (rule,)


def test_an_empty_answer_fails():
    assert reasons("Paris", "") == ("empty",)
    assert reasons("Paris", " \n", ended=False) == ("empty",)


def test_the_end_and_the_length():
    good = "Paris is a city."
    assert reasons("Paris", good, tokens=64) == ()
    assert reasons("Paris", good, tokens=65) == ("too long",)
    assert reasons("Paris", good, ended=False, tokens=64) == ("unfinished",)
    assert reasons("Rome", good * 3, ended=False, tokens=99) == ("term", "unfinished", "too long")
    assert follows_format("Paris", good, True, 9, max_tokens=8).reasons == ("too long",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("...", 0),
        ("One without a stop", 1),
        ("It was built c. 1900 by J. R. R. Tolkien in St. Louis.", 1),
        ("He (b. 1900; d. 1980) met Dr. Smith, i.e. the U.S. president.", 1),
        ("He lived in the U.S. It suited him.", 2),
        ("The U.S. Senate has 100 members.", 1),
        ("Pi is 3.14159. Nearly.", 2),
        ("It costs $3.5 million, or approx. five a head.", 1),
        ("Founded by Apple Inc. The firm grew.", 2),
        ("Apple Inc. Chairman Jobs spoke.", 1),
        ("He asked “Why?” and left.", 1),
        ("He said “Stop.” Then he left.", 2),
        ("(It was late.) He slept.", 2),
        ("Really?! Yes… No.", 3),
        ("See example.com for more.", 1),
        ("一つ。二つ。", 2),
        ("Line one\nline two", 2),
        ("First.\n\nSecond.", 2),
        ("World War I. The war ended in 1918.", 2),
        ("She was no. 5 in vol. 2, pp. 3–4.", 1),
        ("He holds a Ph.D. from MIT.", 1),
    ],
)
def test_num_sentences(text, expected):
    assert num_sentences(text) == expected

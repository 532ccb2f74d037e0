"""English words whose parts the affixes alone would not tell: contractions, abbreviations, smileys.

As in spaCy's English: "don't" is two words, "Mr." one, and "10am" two.
"""

from __future__ import annotations

from itertools import product


def _list(words: str) -> list[str]:
    return words.split()


def _known() -> dict[str, tuple[str, ...]]:
    """Contractions, abbreviations and smileys, each with the words that it is."""
    known: dict[str, tuple[str, ...]] = {}
    words = _list("you they these those there who what when where why how")
    any_of = [*words, "i", "he", "she", "it", "we", "that", "this"]
    tails: dict[tuple[str, ...], list[str]] = {
        ("'d",): any_of,
        ("'d", "'ve"): any_of,
        ("'ll",): any_of,
        ("'ll", "'ve"): any_of,
        ("'re",): [*words, "we"],
        ("'ve",): [*words, "i", "we", *_list("could might must should would not")],
        ("'s",): [*words[4:], "he", "she", "it", "that", "this"],
        ("'m",): ["i"],
        ("'m", "a"): ["i"],
        ("n't",): _list(
            "ai are ca could dare did do does had has have is may might must need ought sha"
            " should was were wo would"
        ),
        ("n't", "'ve"): _list(
            "ca could did do does had may might must need ought sha should wo would"
        ),
    }
    # Without the apostrophe these are other words.
    others = _list("ill hell shell well shed were whore its theres")
    for tail, heads in tails.items():
        for head, mark in product(heads, ("'", "’", "")):
            pieces = (head, *(part.replace("'", mark) for part in tail))
            if "".join(pieces) not in others:
                for first in (head, head.capitalize()):
                    known["".join((first, *pieces[1:]))] = (first, *pieces[1:])
    for hour, half in product(range(1, 13), ("am", "pm", "a.m.", "p.m.")):
        known[f"{hour}{half}"] = (str(hour), half)
    for word in _list("can|not gon|na got|ta c'm|on c’m|on let|'s let|’s how|'d|'y"):
        pieces = tuple(word.split("|"))
        for first in (pieces[0], pieces[0].capitalize()):
            known["".join((first, *pieces[1:]))] = (first, *pieces[1:])
    for word in _list("y'|all y’|all y|all °|C|. °|F|. °|K|. °|c|. °|f|. °|k|."):
        known[word.replace("|", "")] = tuple(word.split("|"))
    single = """
        Adm. Ak. Ala. Apr. Ariz. Ark. Aug. Bros. Calif. Co. Colo. Conn. Corp. D.C. Dec. Del. Dr.
        E.G. E.g. Feb. Fla. Ga. Gen. Gov. I.E. I.e. Ia. Id. Ill. Inc. Ind. Jan. Jr. Jul. Jun. Kan.
        Kans. Ky. La. Ltd. Mar. Mass. Md. Messrs. Mich. Minn. Miss. Mo. Mont. Mr. Mrs. Ms. Mt. N.C.
        N.D. N.H. N.J. N.M. N.Y. Neb. Nebr. Nev. Nov. Oct. Okla. Ore. Pa. Ph.D. Prof. Rep. Rev.
        S.C. Sen. Sep. Sept. St. Tenn. Va. Wash. Wis. a.m. co. e.g. i.e. p.m. v.s. vs. ä. ö. ü.
        C++ and/or w/o O'clock o'clock O’clock o’clock Ma'am ma'am Ma’am ma’am
        ' '' ’ ’’ 's 'S ’s ’S ‘s ‘S 'd ’d 'll ’ll 're ’re 'em ’em 'bout ’bout 'nuff ’nuff
        'cause ’cause 'Cause ’Cause 'cos ’cos 'coz ’coz 'cuz ’cuz 'Cos ’Cos 'Coz ’Coz 'Cuz ’Cuz
        — <space> \\n \\t \\")
        8) 8-) 8-D 8D xD xDD XD XDD <3 <33 <333 </3 ^_^ ^__^ -_- -__- ._. ;_; >.< >.> <.< @_@
        o_o o_O O_o O_O 0_o o_0 0_0 o.o o.O O.o O.O 0.0 o.0 0.o v.v V.V v_v V_V (^_^) (-_-) (._.)
        (>_<) (*_*) (: (-: (; (-; (= (o: (-8 (-; [: [-: [= ): )-: ]= =) =( =] =[ =| =/ =D =3
        :) :-) :)) :-)) :))) :-))) :( :-( :(( :-(( :((( :-((( :] :-] :} :-} :o) :') :'-) :'( :'-(
        :’) :’-) :’( :’-( :/ :-/ :| :-| :1 :P :-P :p :-p :O :-O :o :-o :0 :-0 :() :* :-* :3 :-3
        :> :-> :X :-X :x :-x :D :-D ;) ;-) ;D ;-D >:( >:o
    """
    endings = _list("doin goin havin lovin nothin nuthin somethin ol")
    for word in [*endings, *map(str.capitalize, endings)]:
        single += f" {word}' {word}’"
    known |= {word: (word,) for word in _list(single)}
    return known | {f"{letter}.": (f"{letter}.",) for letter in "abcdefghijklmnopqrstuvwxyz"}


KNOWN = _known()
"""Each with the words that it is."""
LONGEST_KNOWN = max(map(len, KNOWN))

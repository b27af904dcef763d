#!/usr/bin/env python3
"""Writes metrics.json: corpora and what sacreBLEU 2 gives for them.
python3 tests/vectors/make_metrics.py  (pip install sacrebleu)"""
import json
import os
import random

import sacrebleu
from sacrebleu.metrics import BLEU, CHRF

HAND = {
    "equal": [("Ein Haus am See .", "Ein Haus am See .")],
    "plain": [("The cat sat on the mat.", "The cat is on the mat."),
              ("There is a dog, I think.", "I think there is a dog.")],
    "no 4-gram match": [("the quick fox jumps", "a quick fox ran away")],
    "no match": [("alpha beta gamma delta", "one two three four five")],
    "short hypothesis": [("the cat", "the cat sat on the mat")],
    "empty hypothesis": [("", "something was expected here"), ("another one is fine here", "another one is fine here")],
    "empty reference": [("not empty at all here", ""), ("another one is fine here", "another one is fine here")],
    "all empty": [("", ""), ("", "")],
    "blanks": [("   ", "a b c d"), ("\ta  b\u00a0c\u3000d e ", "a b c d e")],
    "entities": [("He said &quot;yes&quot; &amp;amp; left &lt;b&gt;.", 'He said "yes" &amp; left <b>.'),
                 ("&amp;lt; and &amp;quot; and <skipped> it", "< and &quot; and it")],
    "punctuation by digits": [("It costs 1,000.50 dollars, or 3.5-4.5 %.", "It costs 1,000.50 dollars, or 3.5 - 4.5 %."),
                              ("On 12.5.2020, 7-8 p.m., v1.2.3-4.", "On 12.5.2020 , 7-8 p.m. , v1.2.3-4 ."),
                              ("..., ,,, .5 5. ,5 5, 1.,2", "... , ,,, . 5 5 . , 5 5 , 1 . , 2")],
    "symbols": [("a/b [c] {d} (e) f'g h_i j`k l~m n|o p\\q r^s @t #u $v &w *x +y =z",
                 "a / b [c] {d} ( e ) f 'g h_i j ` k l~m n | o p\\q r^s @ t # u $ v & w * x + y = z")],
    "unicode": [("Größe „so“ – naïve café… ½ €5", "Größe „so“ - naïve cafe\u0301… ½ € 5"),
                ("😀 emoji 👍🏽 ok now", "😀 emoji 👍 ok now")],
    "case": [("ÄPFEL Und ÉCOLE МИР NATO", "äpfel und école мир nato"), ("STRASSE İ Ǆ", "straße i ǆ")],
    "chinese": [("我今天去了北京。", "我今天去北京了。"), ("他说：“你好，world！”", "他说：“你好, world!”"),
                ("价格是3.5元—很贵…", "价格是 3.5 元——很贵...")],
    "rare chinese": [("𠀀𠀁是罕见字 a.b", "𠀀𠀂是罕见字 a.b"), ("→ ∑ ⅓ • 一二三四", "→ ∏ ⅓ · 一二三四")],
    "long dash and dots": [(".start 9-.5 a-b -1 --", ". start 9 - .5 a-b -1 - -")],
    "single character": [("a", "a"), ("b", "c")],
    "repeated": [("the the the the the the the", "the cat the dog the")],
}


def random_cases():
    alphabet = ["a", "b", "das", "Haus", "1", "23", ".", ",", "-", "&quot;", "&amp;", "'", "/", " ", "  ", "\u00a0",
                "ß", "中", "文", "。", "—", "“", "𠀀", "\u0301", "😀", "<", ">", "%", "…", "Z"]
    rng = random.Random(7)
    for number in range(12):
        pairs = []
        for _ in range(rng.randint(1, 6)):
            reference = [rng.choice(alphabet) for _ in range(rng.randint(0, 40))]
            hypothesis = [w for w in reference if rng.random() < 0.85]
            for _ in range(rng.randint(0, 4)):
                hypothesis.insert(rng.randint(0, len(hypothesis)), rng.choice(alphabet))
            space = rng.choice(["", " "])
            pairs.append((space.join(hypothesis), space.join(reference)))
        yield f"random {number}", pairs


def main():
    cases = []
    for name, pairs in list(HAND.items()) + list(random_cases()):
        hypotheses, references = [h for h, _ in pairs], [r for _, r in pairs]
        case = {"name": name, "hypotheses": hypotheses, "references": references, "bleu": [],
                "chrf": CHRF().corpus_score(hypotheses, [references]).score}
        for tokenizer in ("13a", "none", "zh"):
            for lowercase in (False, True):
                score = BLEU(tokenize=tokenizer, lowercase=lowercase, force=True).corpus_score(hypotheses, [references])
                case["bleu"].append({
                    "tokenizer": tokenizer, "lowercase": lowercase, "score": score.score, "bp": score.bp,
                    "precisions": score.precisions, "counts": score.counts, "totals": score.totals,
                    "hypothesis_length": score.sys_len, "reference_length": score.ref_len})
        cases.append(case)
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "metrics.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump({"sacrebleu": sacrebleu.__version__, "cases": cases}, f, ensure_ascii=False, indent=0)
        f.write("\n")


main()

"""What must hold of examples/collect_corpus.py, on tiny made-up inputs: no network, no packages."""

import os
import struct
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "examples"))
import collect_corpus as corpus  # noqa: E402


def make_mo(entries, order="<"):
    """A .mo file of [(key bytes, text bytes)]."""
    count = len(entries)
    position = 28 + 16 * count
    tables, strings = [[], []], b""
    for which in (0, 1):
        for entry in entries:
            tables[which].append((len(entry[which]), position + len(strings)))
            strings += entry[which] + b"\0"
    data = struct.pack(order + "7I", 0x950412DE, 0, count, 28, 28 + 8 * count, 0, 0)
    for table in tables:
        for row in table:
            data += struct.pack(order + "2I", *row)
    return data + strings


HEADER = (b"", b"Content-Type: text/plain; charset=UTF-8\n")


class Catalogue(unittest.TestCase):
    def test_both_byte_orders_read_alike(self):
        entries = [HEADER, (b"yes", b"ja")]
        for order in "<>":
            self.assertEqual(list(corpus.read_mo(make_mo(entries, order))), [("yes", None, ["ja"])])

    def test_charset_is_the_header_s(self):
        entries = [(b"", b"Content-Type: text/plain; charset=ISO-8859-1\n"), (b"bear", "Bär".encode("latin-1"))]
        self.assertEqual(list(corpus.read_mo(make_mo(entries))), [("bear", None, ["Bär"])])

    def test_context_is_cut_and_plural_kept(self):
        entries = [HEADER, (b"menu\x04one file\0%d files", b"eine Datei\0%d Dateien")]
        self.assertEqual(list(corpus.read_mo(make_mo(entries))), [("one file", "%d files", ["eine Datei", "%d Dateien"])])

    def test_plurals_pair_last_form_with_plural(self):
        entries = [HEADER, (b"one file\0%d files", b"eine Datei\0%d Dateien")]
        self.assertEqual(set(corpus.mo_pairs(make_mo(entries), "")),
                         {("one file", "eine Datei"), ("%d files", "%d Dateien")})
        only = [HEADER, (b"one file\0%d files", "%d 个文件".encode())]
        self.assertEqual(list(corpus.mo_pairs(make_mo(only), "")), [("%d files", "%d 个文件")])

    def test_truncated_at_any_byte_is_refused(self):
        data = make_mo([HEADER, (b"yes", b"ja")])
        for length in range(len(data) - 1):  # the last byte is only the terminator
            with self.assertRaises(corpus.BadCatalogue):
                list(corpus.read_mo(data[:length]))

    def test_wild_offsets_and_unknown_charset_are_refused(self):
        wild = bytearray(make_mo([HEADER, (b"yes", b"ja")]))
        wild[12:16] = struct.pack("<I", 0xFFFFFFFF)
        with self.assertRaises(corpus.BadCatalogue):
            list(corpus.read_mo(bytes(wild)))
        with self.assertRaises(corpus.BadCatalogue):
            list(corpus.read_mo(make_mo([(b"", b"charset=NO-SUCH\n"), (b"a", b"b")])))

    def test_undecodable_entry_is_left_out(self):
        entries = [HEADER, (b"bad", b"\xff\xfe"), (b"good", b"gut")]
        self.assertEqual(list(corpus.read_mo(make_mo(entries))), [("good", None, ["gut"])])

    def test_paragraphs_pair_up_or_not_at_all(self):
        entries = [HEADER, (b"One.\n\nTwo.", b"Eins.\n\nZwei."), (b"Three.\n\nFour.", b"Alles.")]
        self.assertEqual(list(corpus.mo_pairs(make_mo(entries), "")), [("One.", "Eins."), ("Two.", "Zwei.")])


class Cleaning(unittest.TestCase):
    def test_accelerators_go(self):
        for text, marks, wanted in [("E_xit", "_", "Exit"), ("E&xit", "&", "Exit"), ("文件(_F)", "_", "文件"),
                                    ("文件 (&F)", "&", "文件"), ("Drag && Drop", "&", "Drag & Drop"),
                                    ("use a_b_c here", "_", "use a_b_c here"), ("a_b", "", "a_b"),
                                    ("black & white", "&", "black & white"), ("~Save", "~_", "Save")]:
            self.assertEqual(corpus.strip_accelerator(text, marks), wanted, text)

    def test_tags_go_and_placeholders_stay(self):
        self.assertEqual(corpus.strip_tags("<b>Big</b> &amp; <file> %s"), "Big & <file> %s")
        self.assertEqual(corpus.clean(corpus.strip_tags("one<br/>two")), "one two")

    def test_whitespace_becomes_single_blanks(self):
        self.assertEqual(corpus.clean(" a\t b\n\nc\u00a0d\u200b "), "a b c d")

    def test_letters_are_composed(self):
        self.assertEqual(corpus.clean("Ba\u0308r"), "B\u00e4r")

    def test_chinese_characters_count_for_part_of_a_word(self):
        self.assertEqual(corpus.count_words("one two three"), 3)
        self.assertAlmostEqual(corpus.count_words("打开文件 now"), 4 * 0.6 + 1)


class Judging(unittest.TestCase):
    def test_translations_are_kept(self):
        self.assertTrue(corpus.acceptable("Open the selected file.", "Die gewählte Datei öffnen."))
        self.assertTrue(corpus.acceptable("Open the selected file.", "打开选定的文件。", unspaced=True))

    def test_copies_lengths_and_ratios_are_refused(self):
        for source, target in [("Same three words", "same Three words"), ("too short", "zu kurz ist das"),
                               ("one two three", "eins zwei"), ("word " * 81, "Wort " * 81),
                               ("one two three", "eins " * 9), ("1 + 2 3 4", "1 - 2 3 4"),
                               ("call the oService function here", "call the oService function hier")]:
            self.assertFalse(corpus.acceptable(source, target), (source, target))

    def test_untranslated_line_of_unspaced_language_is_refused(self):
        self.assertFalse(corpus.acceptable("Open the selected file.", "Open the chosen file.", unspaced=True))


class Help(unittest.TestCase):
    def test_joined_on_ids_without_code_and_other_systems(self):
        english = {"a.html": '<h1 id="hd_1" dir="auto"><a name="x"></a>Hidden text</h1>'
                             '<p id="par_2" class="paragraph">Choose <span class="menuitem">Tools</span>'
                             '<span hidden="true" class="MAC">Preferences</span> &amp; go.</p>'
                             '<p id="par_3" class="code">x = 1</p><p id="par_4" class="paragraph">Only here</p>'}
        german = {"a.html": '<h1 id="hd_1" dir="auto">Versteckter Text</h1>'
                            '<p id="par_2" class="paragraph">Wählen Sie <span>Extras</span> &amp; los.</p>'
                            '<p id="par_3" class="code">x = 1</p>', "b.html": ""}
        self.assertEqual(list(corpus.help_pairs(english, german)),
                         [("Hidden text", "Versteckter Text"), ("Choose Tools & go.", "Wählen Sie Extras & los.")])

    def test_repeated_id_pairs_by_order_only_when_equally_often(self):
        twice = '<p id="par_1">A</p><p id="par_1">B</p>'
        self.assertEqual(list(corpus.help_pairs({"f": twice}, {"f": twice.lower()})), [("A", "a"), ("B", "b")])
        once = '<p id="par_1">a</p>'
        self.assertEqual(list(corpus.help_pairs({"f": twice}, {"f": once})), [])


class Descriptions(unittest.TestCase):
    INDEX = ("Package: foo\nDescription-md5: 1234\nDescription-de: Ein Werkzeug\n Erste Zeile mit Geräte-\n"
             " Treibern und Audio-\n und Video.\n .\n Liste:\n  * eins\n    noch eins\n  * zwei\n\nPackage: bar\n")

    def test_stanzas_are_read(self):
        (package, key, description), = corpus.read_translations(self.INDEX, "de")
        self.assertEqual((package, key), ("foo", "1234"))
        self.assertEqual(corpus.description_paragraphs(description),
                         ["Ein Werkzeug", "Erste Zeile mit Geräte-Treibern und Audio- und Video.", "Liste:",
                          "eins noch eins", "zwei"])

    def test_language_with_a_country_is_read(self):
        found = list(corpus.read_translations("Package: f\nDescription-md5: 1\nDescription-zh_CN: 工具\n", "zh_CN"))
        self.assertEqual(found, [("f", "1", "工具")])

    def test_chinese_lines_join_without_blanks(self):
        self.assertEqual(corpus.description_paragraphs("工具\n 打开文\n 件。"), ["工具", "打开文件。"])

    def test_joined_on_md5_when_paragraphs_match(self):
        english = {"1": ("foo", "A tool\n One."), "2": ("bar", "B\n One.\n .\n Two.")}
        german = {"1": ("foo", "Ein Werkzeug\n Eins."), "2": ("bar", "B\n Eins.")}
        self.assertEqual(list(corpus.description_pairs(english, german)),
                         [("foo", "A tool", "Ein Werkzeug"), ("foo", "One.", "Eins.")])


class Split(unittest.TestCase):
    @staticmethod
    def pair(source, target, package, origin="messages"):
        return corpus.Pair(source, target, origin, package)

    def test_held_out_source_is_taken_out_of_training(self):
        test_package, valid_package = sorted(corpus.TEST_CATALOGUES)[0], sorted(corpus.VALID_CATALOGUES)[0]
        pairs = [self.pair("Open the file now", "Die Datei jetzt öffnen", test_package),
                 self.pair("open the File now", "Datei gleich öffnen", "git"),
                 self.pair("Close the file now", "Die Datei jetzt schließen", valid_package),
                 self.pair("Close the file now", "Datei gleich schließen", "git"),
                 self.pair("Delete the old file", "Die alte Datei löschen", "git"),
                 self.pair("Delete the old file", "Die alte Datei löschen", "dpkg")]
        sets = corpus.split_corpus(pairs)
        self.assertEqual([len(sets[name]) for name in ("train", "valid", "test")], [1, 1, 1])
        self.assertEqual(sets["train"][0].source, "Delete the old file")

    def test_order_of_collection_does_not_matter(self):
        pairs = [self.pair("Open file number %d now" % i, "Jetzt Datei Nummer %d öffnen" % i, "git") for i in range(50)]
        one, other = corpus.split_corpus(pairs), corpus.split_corpus(pairs[::-1])
        self.assertEqual(one, other)
        self.assertEqual(len(one["train"]), 50)

    def test_a_source_package_falls_whole_into_one_set(self):
        splits = {corpus.split_of(self.pair("s%d" % i, "t", "foo", "descriptions")) for i in range(100)}
        self.assertEqual(len(splits), 1)


if __name__ == "__main__":
    unittest.main()

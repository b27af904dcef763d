#!/usr/bin/env python3
"""Collect a parallel corpus from what Debian and Ubuntu already carry.

    python3 examples/collect_corpus.py --language de --output corpus/de

Every translated distribution is a parallel corpus. This script fetches about
70 MB of packages with `apt-get download` (nothing is installed, the system's
own package lists are not touched) and takes English sentences and their
translations from three places:

  help           LibreOffice's help pages, joined on the file and on the ids
                 par_... and hd_... of their paragraphs and headings
  descriptions   the translated package descriptions (Translation-en and
                 Translation-LANGUAGE), joined on Description-md5, paragraph
                 by paragraph
  messages       the message catalogues (.mo) of the packages in CATALOGUES

Pairs are cleaned, filtered (3 to 80 words, no copies, no wild length ratios)
and made unique. Validation and test hold out whole packages: their sentences
come from programs that the training set has not seen, and a source sentence
that is held out is taken out of training too. Splitting by random lines would
leak, since catalogues repeat themselves with small changes.

Writes train.tsv, valid.tsv and test.tsv, "source TAB target" in UTF-8, in an
order that depends on nothing but the sentences (they come shuffled by a hash).
Needs Python 3.9, apt-get and dpkg-deb; no root.
"""

import argparse
import collections
import hashlib
import html
import html.parser
import os
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import unicodedata

# How a language is called in its packages, in file names and in the package
# descriptions' index.
Language = collections.namedtuple("Language", "help_package l10n_package help_folder locale index")
LANGUAGES = {
    "de": Language("libreoffice-help-de", "libreoffice-l10n-de", "de", "de", "de"),
    "fr": Language("libreoffice-help-fr", "libreoffice-l10n-fr", "fr", "fr", "fr"),
    "es": Language("libreoffice-help-es", "libreoffice-l10n-es", "es", "es", "es"),
    "it": Language("libreoffice-help-it", "libreoffice-l10n-it", "it", "it", "it"),
    "ja": Language("libreoffice-help-ja", "libreoffice-l10n-ja", "ja", "ja", "ja"),
    "ru": Language("libreoffice-help-ru", "libreoffice-l10n-ru", "ru", "ru", "ru"),
    "zh_CN": Language("libreoffice-help-zh-cn", "libreoffice-l10n-zh-cn", "zh-CN", "zh_CN", "zh_CN"),
}
# Languages written without spaces between words.
UNSPACED = {"ja", "zh_CN"}
ENGLISH_HELP = "libreoffice-help-en-us"

# The catalogues, and the characters that mark an accelerator key in each
# ("E_xit", "E&xit"). Programs for the terminal have none, and their
# identifiers keep their underscores. "a|b" takes the first that exists.
CATALOGUES = [
    ("gcc-12-locales|gcc-13-locales|gcc-14-locales", ""),
    ("util-linux-locales", ""),
    ("gnumeric-common", "_"),
    ("audacity-data", "&"),
    ("libgtk-3-common", "_"),
    ("gnupg-l10n", "_"),
    ("gnucash-common", "_"),
    ("vlc-l10n", "_&"),
    ("evolution-common", "_"),
    ("git", ""),
    ("krita-l10n", "&"),
    ("coreutils", ""),
    ("aptitude-common", "_&"),
    ("libc-l10n", ""),
    ("dpkg", ""),
    ("mutt", ""),
    ("tellico-data", "&"),
    ("sudo", ""),
    ("texinfo", ""),
    ("gettext", ""),
]
LIBREOFFICE_MARKS = "~_"

# Catalogues held out whole. Of the descriptions, every DESCRIPTION_PARTS-th
# source package (by a hash of its name) goes to valid and another to test.
VALID_CATALOGUES = {"sudo"}
TEST_CATALOGUES = {"tellico-data", "mutt"}
DESCRIPTION_PARTS = 96

SHORTEST, LONGEST = 3, 80  # words on each side

Pair = collections.namedtuple("Pair", "source target origin package")


# --- cleaning and judging ------------------------------------------------------

TAG = re.compile(
    r"</?(?:a|b|i|u|p|br|hr|em|strong|big|small|tt|code|pre|span|font|qt|html|body|head|h[1-6]|ul|ol|li|"
    r"table|tr|td|th|center|img|nobr|sub|sup|para|title|filename|note|warning|interface|application|"
    r"emphasis|item|list|link|shortcut|icode|ahelp|defaultinline|caseinline|switchinline|variable|literal)"
    r"(?:\s[^<>]*)?/?>", re.IGNORECASE)
BREAK = re.compile(r"<(?:br|p|li|tr|h[1-6]|hr)\b[^<>]*>", re.IGNORECASE)
ENTITY = re.compile(r"&(?:#\d+|#x[0-9a-fA-F]+|[a-zA-Z]{2,8});")
CJK = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
WIDE = re.compile(r"[\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef]")
CONTROL = re.compile(r"[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060\ufeff\u00ad]")
LETTERS = re.compile(r"[^\W\d_]{2,}")


def clean(text):
    """One line: no control characters, single blanks, composed letters (NFC)."""
    text = unicodedata.normalize("NFC", text)
    text = CONTROL.sub(lambda m: " " if m.group() in "\t\n\r\v\f\u2028\u2029\u0085" else "", text)
    text = " ".join(text.split())
    return text


def strip_accelerator(text, marks):
    """ "E_xit" and "E&xit" lose their mark, "文件(_F)" its whole parenthesis; "&&" is one "&". """
    for mark in marks:
        escaped = re.escape(mark)
        text = re.sub(r"\s?[(（]" + escaped + r"\w[)）]", "", text)
        doubled = text.replace(mark * 2, "\0")
        # A second mark would mean that it is not an accelerator but a name such as a_b_c.
        if len(re.findall(escaped + r"\w", doubled)) == 1:
            doubled = re.sub(escaped + r"(?=\w)", "", doubled)
        text = doubled.replace("\0", mark)
    return text


def strip_tags(text):
    """Removes mark-up (a break becomes a blank) and resolves entities."""
    text = TAG.sub("", BREAK.sub(" ", text))
    return ENTITY.sub(lambda m: html.unescape(m.group()), text)


def count_words(text):
    """Words between blanks; a Chinese or Japanese character counts for 0.6 of one."""
    characters = len(CJK.findall(text))
    if not characters:
        return len(text.split())
    return len(CJK.sub(" ", text).split()) + 0.6 * characters


def acceptable(source, target, unspaced=False):
    """Whether a cleaned pair can teach something: length, ratio, not a copy, has letters."""
    if source.casefold() == target.casefold():
        return False
    if "\ufffd" in source or "\ufffd" in target:
        return False
    source_words, target_words = count_words(source), count_words(target)
    # A Chinese side may be as short as three characters.
    if not SHORTEST <= source_words <= LONGEST:
        return False
    if not (1.8 if unspaced else SHORTEST) <= target_words <= LONGEST:
        return False
    short, long = sorted((source_words, target_words))
    if long > 2.2 * short + 2:
        return False
    if unspaced:
        if not CJK.search(target):
            return False
    else:
        short, long = sorted((len(source), len(target)))
        if long > 2.2 * short + 10:
            return False
        # Mostly the same words: a line of code or a name, not a translation.
        words = LETTERS.findall(target.casefold())
        known = set(LETTERS.findall(source.casefold()))
        if not words or sum(word in known for word in words) > 0.7 * len(words):
            return False
    return len(LETTERS.findall(source)) >= 2


# --- LibreOffice's help: HTML joined on paragraph ids ----------------------------

# A paragraph or heading with an id. They do not nest, so each is cut out whole
# and only its inside is parsed.
HELP_BLOCK = re.compile(r'<(p|h[1-6])\s[^<>]*?id="((?:par|hd)_[^"]+)"([^<>]*)>(.*?)</\1>', re.DOTALL)
SYSTEMS = {"MAC", "UNIX", "WIN", "WRITER", "CALC", "IMPRESS", "DRAW", "MATH", "BASE", "CHART"}
VOID = {"br", "img", "input", "meta", "hr", "link", "wbr", "area", "source", "col"}


class InlineText(html.parser.HTMLParser):
    """The text of a fragment, without the variants for another system or program."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.text = []
        self.open = []  # for each open tag, whether it hides what is inside it

    def handle_starttag(self, tag, attributes):
        if tag in VOID:
            if tag == "br":
                self.text.append(" ")
            return
        classes = set((dict(attributes).get("class") or "").split())
        self.open.append(tag == "script" or tag == "style" or bool(classes & SYSTEMS))

    def handle_endtag(self, tag):
        if tag not in VOID and self.open:
            self.open.pop()

    def handle_data(self, data):
        if not any(self.open):
            self.text.append(data)


def inline_text(fragment):
    if "<" not in fragment:
        return clean(html.unescape(fragment))
    parser = InlineText()
    parser.feed(fragment)
    parser.close()
    return clean("".join(parser.text))


def help_blocks(page):
    """{(id, how many of this id came before): text} of one help page; code is left out."""
    blocks, seen = {}, collections.Counter()
    for _, identifier, attributes, inside in HELP_BLOCK.findall(page):
        key = (identifier, seen[identifier])
        seen[identifier] += 1
        if 'class="code"' not in attributes and 'class="bascode"' not in attributes:
            blocks[key] = inside
    return blocks


def help_pairs(english_pages, other_pages):
    """Pairs of two {file: page}; an id that stands more often on one side is ambiguous and left out."""
    for name in sorted(english_pages.keys() & other_pages.keys()):
        english, other = help_blocks(english_pages[name]), help_blocks(other_pages[name])
        for key, inside in english.items():
            following = (key[0], key[1] + 1)
            if key in other and (following in english) == (following in other):
                yield inline_text(inside), inline_text(other[key])


# --- package descriptions: Translation-xx joined on Description-md5 ----------------

def read_translations(text, language):
    """Yields (Package, Description-md5, description) of a Translation-xx index."""
    for stanza in text.split("\n\n"):
        fields, name = {}, None
        for line in stanza.split("\n"):
            if line[:1] in (" ", "\t"):
                if name:
                    fields[name] += "\n" + line
            elif ":" in line:
                name, value = line.split(":", 1)
                name = name.lower()
                fields[name] = value.strip()
        description = fields.get("description-" + language.lower())
        if description and "description-md5" in fields:
            yield fields.get("package", ""), fields["description-md5"], description


def description_paragraphs(description):
    """The synopsis, the paragraphs and the points of lists."""
    lines = description.split("\n")
    paragraphs, current = [lines[0]], []
    for line in lines[1:] + [" ."]:
        body = line[1:]
        # A bullet starts a paragraph, and what is indented under it goes on with it.
        bullet = re.match(r"\s*[-*+•]\s+", body)
        if body.strip() == "." or not body.strip() or bullet:
            if current:
                paragraphs.append(join_lines(current))
            current = [body[bullet.end():].strip()] if bullet else []
        else:
            current.append(body.strip())
    if current:
        paragraphs.append(join_lines(current))
    return [clean(paragraph) for paragraph in paragraphs]


def join_lines(lines):
    """Undoes a paragraph's line breaks: no blank after a hyphen before a capital (German
    compounds are wrapped there), nor between Chinese or Japanese characters."""
    text = ""
    for line in lines:
        hyphen = len(text) > 1 and text[-1] == "-" and text[-2].isalnum() and line[:1].isupper()
        unspaced = text and line and WIDE.match(text[-1]) and WIDE.match(line[0])
        text += line if not text or hyphen or unspaced else " " + line
    return text


def description_pairs(english, other):
    """Pairs of two {md5: (package, description)} where both have as many paragraphs."""
    for digest in sorted(english.keys() & other.keys()):
        package, description = english[digest]
        left = description_paragraphs(description)
        right = description_paragraphs(other[digest][1])
        if len(left) == len(right):
            for source, target in zip(left, right):
                yield package, source, target


# --- message catalogues: the .mo format --------------------------------------------

class BadCatalogue(ValueError):
    pass


def read_mo(data):
    """Yields (msgid, msgid_plural or None, [translations]) of a .mo file.

    The format is GNU gettext's (its manual, "The Format of GNU MO Files"): a
    magic number that tells the byte order, then two tables of length and
    offset. The entry with the empty msgid is the header and names the charset.
    """
    if len(data) < 28:
        raise BadCatalogue("shorter than its header")
    magic = struct.unpack_from("<I", data)[0]
    order = {0x950412DE: "<", 0xDE120495: ">"}.get(magic)
    if order is None:
        raise BadCatalogue("no magic number")
    _, count, originals, translations = struct.unpack_from(order + "4I", data, 4)
    if max(originals, translations) + 8 * count > len(data):
        raise BadCatalogue("tables reach past the end of the file")

    def string(table, index):
        length, offset = struct.unpack_from(order + "2I", data, table + 8 * index)
        if offset + length > len(data):
            raise BadCatalogue("string %d reaches past the end of the file" % index)
        return data[offset:offset + length]

    entries = [(string(originals, i), string(translations, i)) for i in range(count)]
    header = next((text for key, text in entries if key == b""), b"")
    named = re.search(rb"charset=([^\s\\]+)", header)
    charset = named.group(1).decode("ascii", "replace") if named else "ascii"
    for key, text in entries:
        if key == b"":
            continue
        try:
            key, text = key.decode(charset), text.decode(charset)
        except LookupError:
            raise BadCatalogue("unknown charset " + charset)
        except UnicodeDecodeError:
            continue
        key = key.rpartition("\x04")[2]  # a context stands before it
        singular, _, plural = key.partition("\0")
        yield singular, plural or None, text.split("\0")


def mo_pairs(data, marks):
    """Cleaned pairs of a catalogue; a long message is split where both sides have as many paragraphs."""
    for singular, plural, forms in read_mo(data):
        candidates = [(singular, forms[0])]
        if plural:
            candidates = [(plural, forms[-1])]
            if len(forms) > 1:
                candidates.append((singular, forms[0]))
        for source, target in candidates:
            left = re.split(r"\n\s*\n|\\n\\n", source.strip())
            right = re.split(r"\n\s*\n|\\n\\n", target.strip())
            if len(left) != len(right):
                continue
            for one, two in zip(left, right):
                yield tidy_message(one, marks), tidy_message(two, marks)


def tidy_message(text, marks):
    text = strip_accelerator(strip_tags(text), marks)
    return clean(text.replace("\\n", " ").replace("\\t", " "))


# --- splitting ------------------------------------------------------------------

def digest(*texts):
    return hashlib.sha256("\0".join(texts).encode("utf-8")).digest()


def split_of(pair):
    """The set that a pair's package belongs to."""
    if pair.origin == "messages":
        if pair.package in VALID_CATALOGUES:
            return "valid"
        return "test" if pair.package in TEST_CATALOGUES else "train"
    if pair.origin == "descriptions":
        part = int.from_bytes(digest(pair.package)[:4], "big") % DESCRIPTION_PARTS
        return {0: "valid", 1: "test"}.get(part, "train")
    return "train"


def split_corpus(pairs, unspaced=False):
    """Filters, makes unique and splits: {"train": [...], "valid": [...], "test": [...]}.

    A source sentence of test is in neither of the others, one of valid is not in train.
    """
    sets = {"train": [], "valid": [], "test": []}
    for pair in pairs:
        if acceptable(pair.source, pair.target, unspaced):
            sets[split_of(pair)].append(pair)
    held_out = set()
    for name in ("test", "valid", "train"):
        kept, seen = [], set()
        for pair in sorted(sets[name], key=lambda p: (digest(p.source, p.target), p)):
            source = pair.source.casefold()
            key = (source, pair.target.casefold())
            # Held-out sets have one translation of a sentence; training may learn from several.
            key = key if name == "train" else source
            if source not in held_out and key not in seen:
                seen.add(key)
                kept.append(pair)
        if name != "train":
            held_out |= seen
        sets[name] = kept
    return sets


# --- fetching: apt in a state folder of its own ------------------------------------

def fail(sentence):
    sys.exit("collect_corpus: " + sentence)


def note(sentence):
    print(sentence, file=sys.stderr, flush=True)


class Apt:
    """apt-get with its lists and cache in a folder of ours, so that no root is needed
    and the system's lists stay as they are."""

    CONFIGURATION = """\
#clear Acquire::Languages;
Acquire::Languages { "en"; "%s"; };
Acquire::GzipIndexes "false";
Acquire::Retries "3";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::CNF::DefaultEnabled "false";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
APT::Sandbox::User "%s";
Dir::State::lists "%s";
Dir::Cache "%s";
"""

    def __init__(self, cache, language):
        for tool in ("apt-get", "dpkg-deb"):
            if not shutil.which(tool):
                fail("%s is missing: this collects from a Debian or Ubuntu system "
                     "(on another one, give `attn train` your own files)" % tool)
        self.lists = os.path.join(cache, "lists-" + language)
        self.packages = os.path.join(cache, "packages")
        archives = os.path.join(cache, "archives", "partial")
        for folder in (os.path.join(self.lists, "partial"), self.packages, archives):
            os.makedirs(folder, exist_ok=True)
        self.configuration = os.path.join(cache, "apt-%s.conf" % language)
        # Run by root, apt would hand the download to the user _apt, who may not write here.
        user = "root" if os.geteuid() == 0 else "_apt"
        with open(self.configuration, "w", encoding="utf-8") as file:
            file.write(self.CONFIGURATION % (language, user, self.lists, os.path.join(cache, "archives")))

    def run(self, *arguments):
        command = ["apt-get", "-q", "-c", self.configuration, *arguments]
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              errors="replace", cwd=self.packages, stdin=subprocess.DEVNULL,
                              env=dict(os.environ, LC_ALL="C.UTF-8"))

    def update(self, again=False):
        """Fetches the lists once; later runs read the ones that are there."""
        stamp = os.path.join(self.lists, "complete")
        if os.path.exists(stamp) and not again:
            return
        note("fetching the package lists")
        result = self.run("update")
        errors = [line for line in result.stderr.splitlines() if line[:2] in ("E:", "W:")]
        for line in errors:
            note("  apt-get: " + line)
        if not self.indexes("Packages"):
            fail("apt-get update brought no package list; is there a network, and a mirror in /etc/apt?")
        if not errors:
            open(stamp, "w").close()

    def indexes(self, kind):
        """[(language, path)] of the lists of a kind that are there."""
        result = self.run("indextargets", "--format", "$(LANGUAGE)\t$(FILENAME)", "Created-By: " + kind)
        found = [line.split("\t") for line in result.stdout.splitlines() if "\t" in line]
        return sorted((language, path) for language, path in found if os.path.exists(path))

    def download(self, name):
        """The .deb of a package, from the cache if it is there; None if no mirror has it."""
        path = self.present(name)
        if path:
            return path
        self.update()
        # The lists may be older than what the mirror holds by now: then once more with new ones.
        for attempt in ("with the lists that are there", "with new lists"):
            result = self.run("download", name)
            path = self.present(name)
            if path:
                note("fetched " + os.path.basename(path))
                return path
            if re.search("Unable to locate|no installation candidate|Can't (select|find)", result.stderr):
                return None
            if attempt == "with the lists that are there":
                self.update(again=True)
        fail("apt-get could not download %s: %s" % (name, result.stderr.strip().replace("\n", "; ")))

    def present(self, name):
        files = sorted(file for file in os.listdir(self.packages)
                       if file.startswith(name + "_") and file.endswith(".deb"))
        return os.path.join(self.packages, files[-1]) if files else None


def package_files(deb, wanted):
    """Yields (path, bytes) of the files in a .deb that match a pattern, in the archive's order."""
    unpack = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE)
    with tarfile.open(fileobj=unpack.stdout, mode="r|") as archive:
        for member in archive:
            if member.isfile() and wanted.search(member.name):
                yield member.name, archive.extractfile(member).read()
    # tar ends before the padding does; what is left has to be read, or dpkg-deb complains.
    while unpack.stdout.read(1 << 16):
        pass
    unpack.stdout.close()
    if unpack.wait() != 0:
        fail("%s cannot be unpacked; delete it and run again" % deb)


def collect_help(apt, language):
    pages = []
    for package, folder in ((ENGLISH_HELP, "en-US"), (language.help_package, language.help_folder)):
        deb = apt.download(package)
        if deb is None:
            note("skipped: this release has no package " + package)
            return
        pattern = re.compile(r"/libreoffice/help/%s/(text/.*\.html)$" % re.escape(folder))
        pages.append({pattern.search(name).group(1): data.decode("utf-8", "replace")
                      for name, data in package_files(deb, pattern)})
    for source, target in help_pairs(*pages):
        yield Pair(source, target, "help", language.help_package)


def source_packages(apt):
    """{binary package: source package} where they differ, so that libfoo and libfoo-dev stay together."""
    sources, package = {}, None
    for _, path in apt.indexes("Packages"):
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("Package: "):
                    package = line[9:].strip()
                elif line.startswith("Source: "):
                    sources.setdefault(package, line[8:].split()[0])
    return sources


def collect_descriptions(apt, language):
    apt.update()
    tables = {"en": {}, language.index: {}}
    for index_language, path in apt.indexes("Translations"):
        if index_language in tables:
            with open(path, encoding="utf-8", errors="replace") as file:
                for package, key, description in read_translations(file.read(), index_language):
                    tables[index_language].setdefault(key, (package, description))
    if not tables[language.index]:
        note("skipped: the mirror has no translated descriptions for " + language.index)
        return
    sources = source_packages(apt)
    for package, source, target in description_pairs(tables["en"], tables[language.index]):
        yield Pair(source, target, "descriptions", sources.get(package, package))


def collect_messages(apt, language):
    pattern = re.compile(r"/%s/LC_MESSAGES/[^/]+\.mo$" % re.escape(language.locale))
    for names, marks in CATALOGUES + [(language.l10n_package, LIBREOFFICE_MARKS)]:
        deb = None
        for package in names.split("|"):
            deb = apt.download(package)
            if deb is not None:
                break
        if deb is None:
            note("skipped: this release has no package " + names.replace("|", " or "))
            continue
        for path, data in package_files(deb, pattern):
            try:
                for source, target in mo_pairs(data, marks):
                    yield Pair(source, target, "messages", package)
            except BadCatalogue as error:
                note("skipped: %s in %s: %s" % (path, package, error))


# --- the command ------------------------------------------------------------------

def write_tsv(path, pairs):
    with open(path + ".partial", "w", encoding="utf-8", newline="\n") as file:
        for pair in pairs:
            file.write(pair.source + "\t" + pair.target + "\n")
    os.replace(path + ".partial", path)


def table(sets):
    """Counts by origin and package, one line each."""
    lines = ["%-14s %-24s %8s %8s %8s" % ("origin", "package", "train", "valid", "test")]
    counts = {name: collections.Counter() for name in sets}
    for name, pairs in sets.items():
        for pair in pairs:
            key = (pair.origin, pair.package if pair.origin != "descriptions" else "(all)")
            counts[name][key] += 1
    for key in sorted(set().union(*counts.values())):
        lines.append("%-14s %-24s %8d %8d %8d" % (*key, *(counts[name][key] for name in ("train", "valid", "test"))))
    lines.append("%-14s %-24s %8d %8d %8d" % ("total", "", *(len(sets[n]) for n in ("train", "valid", "test"))))
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description="Collect an English-LANGUAGE corpus from Debian or Ubuntu packages.")
    parser.add_argument("--language", default="de", choices=sorted(LANGUAGES), help="the target language (default: de)")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder for train.tsv, valid.tsv and test.tsv")
    parser.add_argument("--cache", metavar="DIR",
                        default=os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")),
                                             "attn-corpus"),
                        help="folder for the downloads (default: ~/.cache/attn-corpus)")
    options = parser.parse_args()
    language = LANGUAGES[options.language]
    try:
        os.makedirs(options.output, exist_ok=True)
        apt = Apt(os.path.abspath(options.cache), options.language)
        pairs = []
        for collect in (collect_help, collect_descriptions, collect_messages):
            pairs.extend(collect(apt, language))
        sets = split_corpus(pairs, options.language in UNSPACED)
        if not sets["train"]:
            fail("no pairs were found for " + options.language)
        for name, chosen in sets.items():
            write_tsv(os.path.join(options.output, name + ".tsv"), chosen)
    except OSError as error:
        fail(str(error))
    print(table(sets))
    print("%d pairs in %s" % (sum(len(chosen) for chosen in sets.values()), options.output))


if __name__ == "__main__":
    main()

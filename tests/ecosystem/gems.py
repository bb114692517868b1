"""A registry of gems: the compact index that bundler reads, and what `gem install` reads besides."""

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.integration.lab.world import GEM_INDEX, GEMS

_SPECIFICATION = """Gem::Specification.new do |s|
  s.name, s.version, s.summary, s.authors, s.files = "{name}", "1.0.0", "demo", ["demo"], {files}
  s.homepage, s.license = "https://example.com", "MIT"
  {more}
end
"""
_NATIVE = """
#include <ruby.h>
static VALUE answer(VALUE self) { return INT2FIX(42); }
void Init_demo_native(void) { rb_define_global_function("demo_native", answer, 0); }
"""
# Each gem: its files, what else its specification says, what it depends on.
_GEMS: dict[str, tuple[dict[str, str], str, str]] = {
    "demo-leaf": (
        {
            "lib/demo-leaf.rb": "def answer = 42\n",
            "bin/demo-leaf": "#!/usr/bin/ruby\nrequire 'demo-leaf'\nputs answer\n",
        },
        's.executables = ["demo-leaf"]',
        "",
    ),
    "demo-top": (
        {"lib/demo-top.rb": "require 'demo-leaf'\n"},
        's.add_dependency "demo-leaf", ">= 1"',
        "demo-leaf:>= 1",
    ),
    "demo-native": (
        {
            "ext/extconf.rb": "require 'mkmf'\ncreate_makefile('demo_native')\n",
            "ext/demo_native.c": _NATIVE,
            "lib/demo-native.rb": "require 'demo_native'\n",
        },
        's.extensions = ["ext/extconf.rb"]',
        "",
    ),
}


def run(*words: str, place: Path) -> None:
    """Run a command of ruby's, which knows no other settings than these."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(place), "LANG": "C.UTF-8"}
    subprocess.run(words, cwd=place, check=True, capture_output=True, env=environment)


def build(sites: Path) -> None:
    """Build the gems and lay the registry down, under both of its names."""
    site = sites / GEMS
    (site / "gems").mkdir(parents=True)
    versions = ["created_at: 2020-01-01T00:00:00Z\n---\n"]
    with tempfile.TemporaryDirectory() as scratch:
        for name, (files, more, needs) in _GEMS.items():
            place = Path(scratch) / name
            for path, text in files.items():
                (place / path).parent.mkdir(parents=True, exist_ok=True)
                (place / path).write_text(text)
            specification = _SPECIFICATION.format(name=name, files=list(files), more=more)
            (place / "demo.gemspec").write_text(specification)
            run("gem", "build", "-q", "demo.gemspec", place=place)
            gem = site / "gems" / f"{name}-1.0.0.gem"
            shutil.copyfile(place / gem.name, gem)
            line = f"---\n1.0.0 {needs}|checksum:{hashlib.sha256(gem.read_bytes()).hexdigest()}\n"
            (site / "info").mkdir(exist_ok=True)
            (site / "info" / name).write_text(line)
            versions.append(f"{name} 1.0.0 {hashlib.md5(line.encode(), usedforsecurity=False).hexdigest()}\n")
    (site / "versions").write_text("".join(versions))
    run("gem", "generate_index", "-q", "--directory", str(site), place=site)
    (sites / GEM_INDEX).symlink_to(GEMS)

# Two commands matter: `make demo` and `make test`. Each step is skipped when it was done before.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:

# Clips per class and cohort that `make demo` audits; `make audit` takes all of them.
DEMO_LIMIT ?= 100
PORT ?= 7860
# Names only; set PYTHON=... to choose another interpreter of at least 3.11.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then echo $$p; break; fi; done)

PACKAGES := $(shell cat packages.txt)
TEST_PACKAGES := chromium
EMBEDDED := --dataset core-clean --dataset core-shift --dataset core-both --dataset core-unseen \
	--target tiny-audio-flamingo --target tiny-music-flamingo --target tiny-audio-flamingo-b \
	--reference-target tiny-audio-flamingo-b
SOUNDS := --dataset notes --dataset scenes --target tiny-audio-flamingo-sounds --target tiny-audio-flamingo \
	--reference-target tiny-audio-flamingo
WHOLE := $(if $(wildcard bundles/full/audit.json),bundles/full)
# What a bundle is computed by: a newer version of the code looks at it again, and the cache keeps that short.
SOURCES := $(shell find precompute -name '*.py' -o -name '*.json' -o -name '*.safetensors')

# Stamps carry a hash of the requirements, so that pip runs again when those change and only then.
RUNTIME := .venv/installed-$(shell sha256sum < requirements.txt | cut -c1-12)
TESTING := .venv/installed-$(shell cat requirements*.txt | sha256sum | cut -c1-12)-test

.PHONY: help demo audit sounds setup models test lint packages test-packages clean clean-cache

help:
	@cat <<- 'TEXT'
	make demo         install what is missing, audit a part of the embedded speech, open the explorer
	make audit        audit all of the embedded speech; `make demo` shows that bundle from then on
	make sounds       the same for rendered notes and sound scenes, with captions
	make test         install what tests need; lint, types, unit, property, end-to-end and browser tests
	make setup        the environment alone, in .venv
	make models       what single families of targets, voices and the ray engine need besides, in .venv
	make clean        remove the environment and the two embedded bundles; the cache stays
	make clean-cache  remove the cache of scores, of your own audits too
	TEXT

# The whole bundle is shown where it exists, as it is; only `make audit` computes it.
demo: setup $(if $(WHOLE),,bundles/demo/audit.json)
	@exec .venv/bin/python app.py --bundle $(or $(WHOLE),bundles/demo) --port $(PORT)

audit: bundles/full/audit.json

# audit.json is written last, so it stands for the whole bundle. It is touched because an audit that finds its
# bundle up to date leaves it alone.
bundles/demo/audit.json: $(SOURCES) | setup
	@echo "auditing $(DEMO_LIMIT) clips per class of each embedded cohort; 'make audit' takes all of them"
	.venv/bin/python -m precompute audit $(EMBEDDED) --limit $(DEMO_LIMIT) --out bundles/demo --cache .cache/audit
	touch $@

bundles/full/audit.json: $(SOURCES) | setup
	.venv/bin/python -m precompute audit $(EMBEDDED) --out bundles/full --cache .cache/audit
	touch $@

# Captions instead of transcripts: rendered notes and scenes, a target that was trained on half of them and one that was not.
sounds: setup bundles/sounds/audit.json
	@exec .venv/bin/python app.py --bundle bundles/sounds --port $(PORT)

bundles/sounds/audit.json: $(SOURCES) | setup
	.venv/bin/python -m precompute audit $(SOUNDS) --limit $(DEMO_LIMIT) --out bundles/sounds --cache .cache/audit
	touch $@

setup: $(RUNTIME)

$(RUNTIME): | .venv/created
	.venv/bin/python -m pip install -r requirements.txt
	touch $@

$(TESTING): | .venv/created
	.venv/bin/python -m pip install -r requirements.txt -r requirements-dev.txt
	$(models)
	touch $(RUNTIME) $@

# What single families of targets and voices, and the ray engine, need besides; everything else runs without.
models: setup
	$(models)

test: test-packages $(TESTING) lint
	@export PATH="$$PWD/.sounds/bin:$$PATH"
	.venv/bin/python -m pytest

lint: $(TESTING)
	@.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

# Without dependencies, which are listed too: mistral-common caps numpy below the version that everything else runs on.
# torchaudio's compiled part is built for CUDA; without CUDA it cannot be loaded, and nothing here needs it.
define models
.venv/bin/python -m pip install --no-deps -r requirements-models.txt -r requirements-ray.txt
.venv/bin/python -c 'import torchaudio' 2> /dev/null || rm -f .venv/lib/python3*/site-packages/torchaudio/lib/*.so
endef

# Debian ships `venv` without what it needs to install pip; then pip comes from the package python3-venv, and
# without root from the wheel inside it.
.venv/created: | packages
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11 or newer is needed and was not found" >&2; exit 1; }
	if $(PYTHON) -c 'import ensurepip' 2> /dev/null; then
		$(PYTHON) -m venv .venv
	else
		$(PYTHON) -m venv --without-pip .venv
		wheel=(.sounds/usr/share/python-wheels/pip-*.whl)
		.venv/bin/python $$wheel/pip install pip
	fi
	touch $@

packages:
	@$(call install_packages,$(PACKAGES) $$($(PYTHON) -c 'import ensurepip' 2> /dev/null || echo python3-venv))

test-packages: packages
	@$(call install_packages,$(PACKAGES) $(TEST_PACKAGES))

clean:
	rm -rf .venv .sounds bundles/demo bundles/full bundles/sounds .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

clean-cache:
	rm -rf .cache

# Installs Debian packages. Without root they are unpacked into .sounds, where precompute looks for them: all of them,
# since precompute takes its speech from there or from the system, never from both.
define install_packages
wanted=($(1))
missing=()
for package in "$${wanted[@]}"; do
	dpkg-query -W -f='$${db:Status-Status}' $$package 2> /dev/null | grep -qx installed \
		|| [ -f .sounds/unpacked/$$package ] || missing+=($$package)
done
if [ $${#missing[@]} = 0 ]; then exit 0; fi
echo "installing system packages: $${missing[*]}"
if [ $$(id -u) = 0 ]; then
	apt-get update -q
	DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$${missing[@]}"
	exit 0
fi
state=$$PWD/.sounds/apt
mkdir -p $$state/lists/partial $$state/archives/partial .sounds/unpacked .sounds/bin
apt=(apt-get -q -o Dir::State::lists=$$state/lists -o Dir::Cache=$$state -o Debug::NoLocking=true)
apt+=(-o Dir::State::status=$${DPKG_ADMINDIR:-/var/lib/dpkg}/status)
"$${apt[@]}" update
needed=$$("$${apt[@]}" install -s --no-install-recommends "$${missing[@]}" | awk '/^Inst / {print $$2}')
(cd $$state && "$${apt[@]}" download $$(printf '%s\n' "$${wanted[@]}" $$needed | sort -u))
for deb in $$state/*.deb; do
	dpkg -x $$deb .sounds
	rm $$deb
done
# The launcher of Debian's chromium looks for it under /usr/lib; this one looks where it is.
if [ -x .sounds/usr/lib/chromium/chromium ]; then
	libraries=$$(find $$PWD/.sounds -name '*.so*' -printf '%h\n' | sort -u | paste -sd:)
	printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$$@"\n' \
		"$$libraries" $$PWD/.sounds/usr/lib/chromium/chromium > .sounds/bin/chromium
	chmod +x .sounds/bin/chromium
fi
for package in "$${wanted[@]}"; do touch .sounds/unpacked/$$package; done
endef

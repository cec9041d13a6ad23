"""The command line: ``python -m precompute COMMAND``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from precompute import heap

heap.share()  # before numpy, whose threads settle how many heaps there are

from precompute.clips import InputError  # noqa: E402

if TYPE_CHECKING:
    from precompute.request import Request

TARGET_HELP = "`targets` lists what can be audited; behind an endpoint the key is read from AUDIT_API_KEY"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str or None
        Without the program's name; None takes ``sys.argv``.

    Returns
    -------
    int
        0 done, 1 a check found problems, 2 bad input (one sentence on stderr), 130 interrupted.
    """
    options = parser().parse_args(arguments)
    try:
        return options.run(options) or 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on where this one was", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe has seen enough
        sys.stderr.close()
        return 0


def parser() -> argparse.ArgumentParser:
    """Build the command line of the contract."""
    top = argparse.ArgumentParser(prog="python -m precompute", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    audit = commands.add_parser("audit", help="score clips against targets and write a bundle")
    audit.add_argument("--dataset", action="append", default=[], metavar="NAME|MANIFEST|hf:OWNER/NAME")
    audit.add_argument(
        "--target", action="append", default=[], metavar="NAME|DIR|HUB_ID[@REVISION]|api:MODEL@URL", help=TARGET_HELP
    )
    audit.add_argument("--recipe", metavar="NAME|JSON", help="targets, datasets and settings of one file; `paper`")
    audit.add_argument("--reference-target", metavar="NAME|DIR|HUB_ID", help="a target that never met these members")
    audit.add_argument("--scores", type=Path, metavar="CSV", help="scores made elsewhere: clip_id or file_name, score")
    audit.add_argument("--columns", metavar="OURS=THEIRS,...", help="what a list calls our columns: text=sentence,...")
    audit.add_argument("--out", type=Path, metavar="BUNDLE", help="needed but for --dry-run")
    audit.add_argument("--cache", type=Path, default=Path(".cache/audit"), metavar="DIR")
    audit.add_argument("--conditions", metavar="a,b,...", help="default: all; `conditions` lists them")
    audit.add_argument("--limit", type=positive, metavar="N", help="clips per class and dataset, drawn from the seed")
    audit.add_argument("--batch-size", type=positive, metavar="N", help="clips read together; default: by the memory")
    audit.add_argument("--protocol", choices=("single-pass", "two-pass"), default="single-pass")
    audit.add_argument("--engine", choices=("local", "ray"), default="local", help="where the work runs")
    audit.add_argument(
        "--workers", type=positive, metavar="N", help="of --engine ray; default: one a GPU, or one a core"
    )
    audit.add_argument("--ray-address", metavar="ADDRESS", help="of a running cluster; default: one of its own, here")
    audit.add_argument("--device", default="auto", metavar="D")
    audit.add_argument("--dtype", choices=("auto", "float32", "bfloat16", "float16"), help="default: auto")
    audit.add_argument("--attn", metavar="NAME", help="attention of transformers: eager, sdpa, flash_attention_2")
    audit.add_argument("--device-map", choices=("auto",), help="spread a model larger than one device over all")
    audit.add_argument("--voices", metavar="ENGINE[=WHERE]", help="what speaks transcripts; `conditions` lists them")
    audit.add_argument("--sounds", metavar="ENGINE[=WHERE]", help="what renders captions")
    audit.add_argument("--reference-voices", metavar="DIR|librispeech", help="recordings whose voices are borrowed")
    audit.add_argument("--asr-target", metavar="NAME|DIR|HUB_ID", help="reads resyntheses: can they be understood?")
    audit.add_argument("--seed", type=int, default=0, metavar="N")
    audit.add_argument("--prompt", metavar="TEXT", help="default: the target's own")
    audit.add_argument("--max-new-tokens", type=positive, metavar="N", help="default: 64")
    audit.add_argument("--dry-run", action="store_true", help="price the audit: clips, inputs, time, disk, gates")
    audit.add_argument(
        "--rate", type=float, metavar="TEXTS_PER_S", help="of --dry-run, where none can be measured here"
    )
    audit.add_argument("--json", action="store_true", help="of --dry-run")
    audit.set_defaults(run=run_audit)

    check = commands.add_parser("check", help="look a list over before a GPU is spent")
    check.add_argument("manifest", type=Path)
    check.add_argument("--columns", metavar="OURS=THEIRS,...", help="what the list calls our columns")
    check.set_defaults(run=run_check)

    report = commands.add_parser("report", help="print a bundle's tables and verdicts")
    report.add_argument("bundle", type=Path)
    report.add_argument("--format", choices=("text", "markdown", "csv", "json"), default="text")
    report.set_defaults(run=run_report)

    score = commands.add_parser("score", help="score one clip against a bundle's known clips")
    score.add_argument("clip", type=Path)
    score.add_argument("--bundle", type=Path, required=True)
    score.add_argument("--dataset", required=True, metavar="NAME")
    score.add_argument("--target", required=True, metavar="NAME")
    score.add_argument("--json", action="store_true")
    score.set_defaults(run=run_score)

    train = commands.add_parser("train", help="make an embedded target again")
    train.add_argument("name")
    train.add_argument("--out", type=Path, required=True, metavar="DIR")
    train.set_defaults(run=run_train)

    validate = commands.add_parser("validate", help="planted-truth study: how often is the audit's sentence wrong")
    validate.add_argument("--draws", type=positive, default=1000, metavar="N", help="of each world and size")
    validate.add_argument("--world", action="append", metavar="NAME", help="default: all simulated worlds")
    validate.add_argument("--per-class", action="append", type=positive, metavar="N", help="default: 250, some 1000")
    validate.add_argument(
        "--out", type=Path, default=Path(".cache/validate"), metavar="DIR", help="where draws are kept"
    )
    validate.add_argument("--jobs", type=positive, metavar="N", help="processes; default: one a core")
    validate.add_argument(
        "--trained", type=Path, metavar="DIR", help="worlds of `python -m precompute.validate.trained`"
    )
    validate.add_argument("--bundle", type=Path, help="audit of core-clean and core-both, to check the adjustment on")
    validate.add_argument("--publish", action="store_true", help="replace the committed table")
    validate.set_defaults(run=run_validate)

    bench = commands.add_parser("bench", help="measure how fast everything is, here and now")
    bench.add_argument("--only", metavar="a,b,...", help="scoring, full-size, features, statistics, cache, bundle, ...")
    bench.add_argument("--quick", action="store_true", help="about a minute")
    bench.add_argument("--memory", action="store_true", help="also whole audits of 1,000 and of 20,000 clips")
    bench.add_argument("--full-size", action="store_true", help="also Audio Flamingo 3 at full size, where a GPU is")
    bench.add_argument("--bundle", type=Path, help="to open and to browse; default: a synthetic one")
    bench.add_argument("--json", action="store_true")
    bench.set_defaults(run=run_bench)

    for name, run, text in (
        ("datasets", run_datasets, "list the embedded cohorts and the paper's corpora"),
        ("targets", run_targets, "list the embedded targets and the families that can be audited"),
        ("conditions", run_conditions, "list the audio conditions and what resynthesises"),
    ):
        commands.add_parser(name, help=text).set_defaults(run=run)
    return top


def positive(text: str) -> int:
    """Parse a whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def run_audit(options: argparse.Namespace) -> None:
    """Run ``audit``, or price it."""
    request = request_of(options)
    if options.dry_run:
        from precompute.bundle import plain
        from precompute.estimate import price
        from precompute.estimate_report import printed

        estimate = price(request, options.rate)
        print(json.dumps(plain(estimate.as_dict()), indent=1) if options.json else printed(estimate))
        return
    if options.out is None:
        raise InputError("an audit needs --out, the folder of the bundle to write")
    from precompute.audit import run

    print(f"bundle: {run(request)}")


def request_of(options: argparse.Namespace) -> Request:
    """Read what an audit is asked for; a recipe gives what the command line does not."""
    from precompute.conditions import CONDITIONS
    from precompute.conditions.casting import parse_casting
    from precompute.recipes import load_recipe
    from precompute.records import parse_columns
    from precompute.request import Request
    from precompute.scores import Plan

    recipe = None if options.recipe is None else load_recipe(options.recipe)
    names = tuple(options.conditions.split(",")) if options.conditions else recipe.conditions if recipe else ()
    for name in names:
        if name not in CONDITIONS:
            raise InputError(f"no such condition: {name} (there are {', '.join(CONDITIONS)})")
    targets = tuple(dict.fromkeys(options.target)) or (recipe.models if recipe else ())
    datasets = tuple(dict.fromkeys(options.dataset)) or (recipe.corpora if recipe else ())
    if not datasets:
        raise InputError("an audit needs a --dataset, or a --recipe")
    if not targets and options.scores is None:
        raise InputError("an audit needs a --target, or --scores made elsewhere")
    if options.reference_target and not targets:
        raise InputError("--reference-target is compared with a --target, and none is given")
    if options.scores is not None and not options.scores.is_file():
        raise InputError(f"{options.scores}: no such file")
    engines = recipe.engines if recipe and not options.dry_run else {}  # a price needs no place of an engine
    casting = parse_casting(
        options.voices or engines.get("speech"),
        options.sounds or engines.get("sound"),
        options.reference_voices or ("librispeech" if engines.get("speech") else None),
        options.seed,
    )
    plan = Plan(
        names or tuple(CONDITIONS),
        options.prompt,
        options.max_new_tokens or (recipe.max_new_tokens if recipe else 64),
        options.batch_size,
        options.protocol,
        options.seed,
        prompts=recipe.prompts if recipe else {},
        casting=casting,
    )
    return Request(
        datasets=datasets,
        targets=targets,
        out=options.out or Path(),
        cache=options.cache,
        plan=plan,
        columns=parse_columns(options.columns) if options.columns else {},
        limit=options.limit,
        per_class=recipe.per_class if recipe else {},
        reference=options.reference_target,
        scores=options.scores,
        seed=options.seed,
        device=options.device,
        dtype=options.dtype or (recipe.dtype if recipe else "auto"),
        attention=options.attn,
        device_map=options.device_map,
        asr_target=options.asr_target,
        engine=options.engine,
        workers=options.workers,
        ray_address=options.ray_address,
    )


def run_check(options: argparse.Namespace) -> int:
    """Run ``check``; 1 where there is a problem."""
    from precompute.check import check, printed
    from precompute.records import parse_columns

    findings = check(options.manifest, parse_columns(options.columns) if options.columns else None)
    print(printed(findings))
    return 1 if findings.problems else 0


def run_report(options: argparse.Namespace) -> None:
    """Run ``report``."""
    from precompute.bundle import read_bundle
    from precompute.report import render

    print(render(read_bundle(options.bundle), options.format))


def run_score(options: argparse.Namespace) -> None:
    """Run ``score``."""
    from precompute.bundle import prompt_of, read_bundle
    from precompute.clips import Clip, read_audio
    from precompute.single_clip import score_clip, sentence
    from precompute.targets import load_target

    bundle = read_bundle(options.bundle)
    samples = read_audio(Clip(options.clip.name, options.clip))
    target = load_target(options.target)
    audited = next((known for known in bundle.audit["targets"] if known["id"] == target.id), None)
    if audited is None or audited["revision"] != target.revision:
        raise InputError(f"{options.bundle}: audited {'another revision of' if audited else 'no target'} {target.id}")
    how = (prompt_of(bundle.audit, options.dataset, target.id), audited["max_new_tokens"])
    result = score_clip(samples, None, bundle.models(), options.dataset, target.id, target, *how)
    print(json.dumps(result, indent=1) if options.json else sentence(result))


def run_train(options: argparse.Namespace) -> None:
    """Run ``train``."""
    from precompute.targets.embedded import train
    from precompute.targets.recipes import RECIPES

    if options.name not in RECIPES:
        raise InputError(f"no such embedded target: {options.name} (there are {', '.join(RECIPES)})")
    train(RECIPES[options.name], options.out)


def run_validate(options: argparse.Namespace) -> None:
    """Run ``validate``."""
    from precompute.validate import grids, readings, simulated, study

    known = [*simulated.WORLDS, *grids.WORLDS]
    for name in options.world or ():
        if name not in known:
            raise InputError(f"no such world: {name} (there are {', '.join(known)})")
    if any(n < 40 for n in options.per_class or ()):
        raise InputError("a world is drawn with at least 40 clips per class")
    drawn_jobs = study.jobs(options.draws, options.world, options.per_class)
    rows = study.run(drawn_jobs, options.out / "draws.jsonl", options.jobs)
    trained = [] if options.trained is None else readings.read_folder(options.trained)
    embedded = [] if options.bundle is None else readings.read_embedded(options.bundle)
    found = study.summarise(rows, command_of(options), trained, embedded)
    print(study.printed(found), end="")
    if options.publish:
        study.PUBLISHED.write_text(json.dumps(found, indent=1) + "\n")
        print(f"published: {study.PUBLISHED.name}")


def command_of(options: argparse.Namespace) -> str:
    """Spell the command that makes a study again; folders are named by what they hold."""
    parts = ["python -m precompute validate"]
    parts += [f"--draws {options.draws}"] if options.draws != 1000 else []
    parts += [f"--world {name}" for name in options.world or ()]
    parts += [f"--per-class {n}" for n in options.per_class or ()]
    parts += ["--trained DIR"] if options.trained else []
    parts += ["--bundle bundles/full"] if options.bundle else []
    return " ".join(parts)


def run_bench(options: argparse.Namespace) -> None:
    """Run ``bench``."""
    from precompute import bench

    found = bench.run(options)
    print(json.dumps(found, indent=1) if options.json else bench.printed(found), end="\n" if options.json else "")


def run_datasets(_options: argparse.Namespace) -> None:
    """Run ``datasets``: draw every embedded cohort and print its size and its truth; describe the paper's corpora."""
    from precompute.corpora import EMBEDDED
    from precompute.corpora.hub import describe
    from precompute.corpora.paper import CORPORA

    print("Embedded:")
    for draw in EMBEDDED.values():
        cohort = draw()
        members = sum(cohort.labels)
        print(f"{cohort.name}: {members} members, {len(cohort.labels) - members} non-members. {cohort.title}")
        print(f"    {cohort.truth}")
    print("\nThe paper's, drawn on first use; CORPUS=FOLDER takes an original distribution:")
    for corpus in CORPORA.values():
        print(describe(corpus))
    print("\nAny other: a list of clips (`check` looks it over), or hf:owner/name?member=SPLIT&non_member=SPLIT")


def run_targets(_options: argparse.Namespace) -> None:
    """Run ``targets``."""
    from precompute.targets import EMBEDDED
    from precompute.targets.families import FAMILIES, NOT_AUDITED

    print("Embedded:")
    for name, description in EMBEDDED.items():
        print(f"{name}: {description}")
    print("\nFamilies, as a hub id (owner/name@revision) or a folder:")
    for family in FAMILIES.values():
        print(f"{family.title}: {family.example} (type {family.model_type})")
    print("\nBehind an endpoint: api:MODEL@https://HOST/v1, with the key in AUDIT_API_KEY; weaker, see the README")
    print("\nNot audited:")
    for model_type, reason in NOT_AUDITED.items():
        print(f"{model_type}: {reason}")


def run_conditions(_options: argparse.Namespace) -> None:
    """Run ``conditions``."""
    from precompute.conditions import CONDITIONS
    from precompute.conditions.voices import ENGINES

    for condition in CONDITIONS.values():
        again = f" ({condition.realizations} realizations)" if condition.realizations > 1 else ""
        print(f"{condition.name}{again}: {condition.description}")
    print("\nWhat resynthesises, for --voices (reads text) and --sounds (reads captions):")
    for name, kind in ENGINES.items():
        where = f"={kind.where}" if kind.where else ""
        options = f" Options: {', '.join(kind.options)}." if kind.options else ""
        print(f"{name}{where} (reads {kind.reads}): {kind.description}{options}")


if __name__ == "__main__":
    sys.exit(main())

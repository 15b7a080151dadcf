"""Decide with reasons whether to train again, do it where they ask for it, and hold the result against the champion."""

import argparse
import contextlib
import json
import sys
from pathlib import Path

from components.commands.patience import terminate
from components.errors import Exit, UsageError
from components.settings import Params
from components.signals import on_sigterm
from components.storage.locks import locked
from pipeline import options as shared
from pipeline import server_options
from pipeline.retraining import cluster, laptop, telling, tree
from pipeline.retraining.champion import ROOM, Champion, champion_of
from pipeline.retraining.looking import Told, decision
from pipeline.retraining.policy import FILE, load_policy
from pipeline.retraining.telling import Outcome


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `retrain`."""
    parser.add_argument("--decide-only", action="store_true", help="train nothing: say whether to and why")
    parser.add_argument("--on", choices=("laptop", "kubeflow"), default="laptop",
                        help="run `dvc repro` here, or submit the pipeline and wait (default: laptop)")
    parser.add_argument("--force", action="store_true", help="train whatever the decision is")
    parser.add_argument("--warm", action="store_true", help="let the students go on from the champion's weights")
    parser.add_argument("--promote", action="store_true",
                        help="publish the new model if the verdict allows it (default: publish nothing)")
    parser.add_argument("--policy", type=Path, default=FILE, metavar="FILE",
                        help=f"what is a reason (default: {FILE}, or the defaults where that is not there)")
    parser.add_argument("--registry", default="", metavar="PLACE",
                        help="where the champion is published (default: promote.registry of params.yaml)")
    telling_arguments(parser)
    shared.arguments(parser)
    server_options.arguments(parser, cluster=False)
    parser.add_argument("--timeout", type=float, default=0.0, metavar="SECONDS",
                        help="on Kubeflow: exit 75 after this time, the run goes on (default: none)")


def telling_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that say what is known besides, and where the answers go."""
    parser.add_argument("--reference", type=Path, metavar="FOLDER",
                        help="the Dataset that the champion learnt from (default: what was kept of it)")
    parser.add_argument("--live", type=Path, metavar="FILE",
                        help="right answers in use by task: JSON {task: {right, of}}, or CSV with task, right, of")
    parser.add_argument("--published", default="", metavar="DATE",
                        help="when the champion was published (default: as git or the registry folder tells)")
    parser.add_argument("--no-index", action="store_true",
                        help="decide by the Dataset that is here, without bringing it up to date first")
    parser.add_argument("--out", type=Path, default=Path("reports/retrain"), metavar="FOLDER",
                        help="where decision and comparison are written (default: reports/retrain)")
    parser.add_argument("--json", action="store_true", help="print decision and outcome as JSON")


def command(options: argparse.Namespace) -> int:
    """Run `retrain`; exit code 0 also where the answer is no."""
    with on_sigterm(terminate), locked([ROOM / "run"]):
        return retrain(options)


def retrain(options: argparse.Namespace) -> int:
    """Decide, train, tell."""
    params, policy = Params.load(options.params, options.set), load_policy(options.policy)
    registry = options.registry or registry_of(options, params)
    refuse_other_file(options)
    telling.clear(options.out)
    champion = champion_of(registry)
    tree.keep_reference()
    if options.on == "laptop" and not options.no_index and champion:
        laptop.bring_data_up_to_date(params)
    images = cluster.images_there(options, params) if options.on == "kubeflow" and champion else ""
    told = Told(options.reference, options.live, options.published, images)
    found = decision(champion, registry, params, policy, told)
    telling.tell_decision(options.out, found, options.force)
    if not options.json:
        print("\n".join(telling.decision_lines(found, options.force)), flush=True)
    outcome = None
    if (found.retrain or options.force) and not options.decide_only:
        outcome = trained(options, params, registry, champion)
        telling.tell_outcome(options.out, outcome)
        if not options.json:
            print("\n".join(telling.outcome_lines(outcome)))
    if options.json:
        print(json.dumps({"decision": found.to_json(), "outcome": outcome and outcome.to_json()}, indent=1,
                         sort_keys=True))
    return Exit.OK


def refuse_other_file(options: argparse.Namespace) -> None:
    """UsageError for settings that DVC would not see."""
    if options.on == "laptop" and not options.decide_only and options.params != Path("params.yaml"):
        raise UsageError(f"--params {options.params}: dvc.yaml reads params.yaml", "set single values with --set, or "
                         "train on Kubeflow")


def registry_of(options: argparse.Namespace, params: Params) -> str:
    """The registry of the place where the training would run."""
    return cluster.registry_there(options, params) if options.on == "kubeflow" else str(
        params.setting("promote.registry"))


def trained(options: argparse.Namespace, params: Params, registry: str, champion: Champion | None) -> Outcome:
    """Train where it was asked for, and publish if that was asked for too."""
    if options.on == "kubeflow":
        with contextlib.redirect_stdout(sys.stderr):
            return cluster.train(options, registry, champion)
    outcome = laptop.train(params, registry, champion, options.warm, options.set)
    if options.promote:
        return laptop.promoted(registry, str(params.setting("promote.tag")), outcome)
    return outcome

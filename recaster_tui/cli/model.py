"""``recaster model``: the commands and their parameters; bodies import late."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from recaster_tui.cli.documented import documented

Json = Annotated[bool, Parameter(name="--json", negative="", show_default=False)]
Flag = Parameter(negative="", show_default=False)

model_app = App(
    name="model",
    help="Models: list and check them, bring them from DeepFaceLab and back, export DFM.",
)


@model_app.command(name="list")
@documented
def list_(workspace: Path, /, *, json: Json = False) -> int:
    """List the models of a workspace, DeepFaceLab's too. Exit code 4 if one is damaged.

    Parameters
    ----------
    workspace
        Project folder.
    json
        One JSON array.
    """
    from recaster_tui.cli.model_show import list_models

    return list_models(workspace, as_json=json)


@model_app.command
@documented
def info(workspace: Path, name: str | None = None, /, *, json: Json = False) -> int:
    """Show what a model is: class, iteration, options, parameters, files, last losses.

    Parameters
    ----------
    workspace
        Project folder.
    name
        Name of the model, as in the list; may be left out where there is only one. With its
        class (new.saehd for ours, new_SAEHD for DeepFaceLab's) where names are the same.
    json
        As JSON.
    """
    from recaster_tui.cli.model_show import show_model

    return show_model(workspace, name, as_json=json)


@model_app.command
@documented
def verify(workspace: Path, name: str | None = None, /, *, json: Json = False) -> int:
    """Check models: every hash of ours, every file and shape of DeepFaceLab's.

    Nothing is changed, and nothing in the files is executed. Exit code 4 if a model is damaged.

    Parameters
    ----------
    workspace
        Project folder.
    name
        Only this model.
    json
        As JSON.
    """
    from recaster_tui.cli.model_show import verify_models

    return verify_models(workspace, name, as_json=json)


@model_app.command(name="import-dfl")
@documented
def import_dfl(
    workspace: Path,
    model: str | None = None,
    /,
    *,
    name: str | None = None,
    from_: Annotated[Path | None, Parameter(name="--from")] = None,
    json: Json = False,
) -> int:
    """Make a model of ours from one of DeepFaceLab's, optimizer and history included.

    DeepFaceLab's files stay as they are.

    Parameters
    ----------
    workspace
        Project folder.
    model
        Name of the DeepFaceLab model; may be left out where there is only one.
    name
        Name of the new model; the same where it is left out.
    from_
        Folder with the DeepFaceLab model; the workspace's model folder where it is left out.
    json
        As JSON.
    """
    from recaster_tui.cli.model_move import import_model

    return import_model(workspace, model, new_name=name, source=from_, as_json=json)


@model_app.command(name="export-dfl")
@documented
def export_dfl(
    workspace: Path,
    model: str,
    /,
    *,
    to: Path | None = None,
    name: str | None = None,
    overwrite: Annotated[bool, Flag] = False,
    json: Json = False,
) -> int:
    """Write a model of ours as DeepFaceLab's files, with which DeepFaceLab goes on training.

    Parameters
    ----------
    workspace
        Project folder.
    model
        Name of the model.
    to
        Folder to write into; the workspace's model folder where it is left out.
    name
        Another name for it in DeepFaceLab.
    overwrite
        Replace a DeepFaceLab model of that name; its files are moved to a dated folder.
    json
        As JSON.
    """
    from recaster_tui.cli.model_move import export_model

    return export_model(
        workspace, model, target=to, new_name=name, overwrite=overwrite, as_json=json
    )


@model_app.command(name="export-dfm")
@documented
def export_dfm(
    workspace: Path,
    model: str,
    /,
    *,
    to: Path | None = None,
    quantize: Annotated[bool, Flag] = False,
    overwrite: Annotated[bool, Flag] = False,
    json: Json = False,
) -> int:
    """Write a SAEHD or AMP model as DFM (ONNX), as DeepFaceLive runs it.

    The file is run and compared with the model before it is put into place.

    Parameters
    ----------
    workspace
        Project folder.
    model
        Name of the model, ours or DeepFaceLab's.
    to
        The file; NAME_CLASS_model.dfm in the model folder where it is left out.
    quantize
        Convolutions in float16: half the size.
    overwrite
        Replace a file of that name.
    json
        As JSON.
    """
    from recaster_tui.cli.model_move import export_dfm_file

    return export_dfm_file(
        workspace, model, target=to, quantize=quantize, overwrite=overwrite, as_json=json
    )

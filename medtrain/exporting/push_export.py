"""Push an export to the Hugging Face Hub, or to a server that speaks its protocol."""

from __future__ import annotations

import os
import re
from pathlib import Path

from medtrain import __version__
from medtrain.core.errors import InputError, MachineError

REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
LOG_IN = "log in (hf auth login) or set HF_TOKEN to a token that may write"


def ensure_can_push(repo: str) -> None:
    """InputError where a repository's name cannot be one, or there is no token: before anything is computed."""
    from huggingface_hub import get_token

    if not REPO.fullmatch(repo):
        raise InputError(f"--push {repo!r} is no name of a repository", "give USER/NAME or ORGANIZATION/NAME")
    if not get_token():
        raise InputError("there is no token for the Hugging Face Hub on this machine", LOG_IN)


def push_export(folder: Path, repo: str) -> str:
    """Upload an export's folder into the model repository `repo`, which is made, and private, where there is none.

    Returns where it is now, and who can see it. The server is that of HF_ENDPOINT, the token that of HF_TOKEN or of the
    Hub's own login. InputError where the server refuses, MachineError where it cannot be reached or fails.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    server = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    api = HfApi(endpoint=server, library_name="medtrain", library_version=__version__)
    again = f"the export stays in {folder}; give the same command again"
    try:
        if not api.repo_exists(repo):
            api.create_repo(repo, private=True)
        api.upload_folder(repo_id=repo, folder_path=folder, commit_message="An export of medtrain")
        seen = "private" if api.model_info(repo).private else "public"
    except HfHubHTTPError as error:
        code = error.response.status_code
        reason = " ".join((error.server_message or str(error)).split())[:200]
        problem = f"{server} answered {code} to the push into {repo}: {reason}"
        if code in (401, 403):
            raise InputError(problem, f"{LOG_IN} in {repo}; {again}") from None
        if code < 500:
            raise InputError(
                problem, f"check the name {repo}, and that your account may write there; {again}"
            ) from None
        raise MachineError(problem, f"wait until the server is well; {again}") from None
    except Exception as error:  # each version of the library has another HTTP client, with errors of its own
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise MachineError(
            f"the push to {server} failed: {reason}", f"check the network and HF_ENDPOINT; {again}"
        ) from None
    return f"{server.rstrip('/')}/{repo} ({seen})"

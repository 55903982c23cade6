"""Push an export to the Hugging Face Hub, or to a server that speaks its protocol."""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path
from urllib.parse import unquote

from medtrain import __version__
from medtrain.core.errors import InputError, MachineError

REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
USERINFO = re.compile(r"^(\w+://)?(.*)@")  # what a server's address has before its name
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

    endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    server = USERINFO.sub(r"\1", endpoint)
    api = HfApi(endpoint=endpoint, library_name="medtrain", library_version=__version__)
    again = f"the export stays in {folder}; give the same command again"
    try:
        if not api.repo_exists(repo):
            api.create_repo(repo, private=True)
        api.upload_folder(repo_id=repo, folder_path=folder, commit_message="An export of medtrain")
        seen = "private" if api.model_info(repo).private else "public"
    except HfHubHTTPError as error:
        code = error.response.status_code
        reason = _without_secrets(error.server_message or str(error), endpoint)
        problem = f"{server} answered {code} to the push into {repo}: {reason}"
        if code in (401, 403):
            raise InputError(problem, f"{LOG_IN} in {repo}; {again}") from None
        if code < 500:
            raise InputError(
                problem, f"check the name {repo}, and that your account may write there; {again}"
            ) from None
        raise MachineError(problem, f"wait until the server is well; {again}") from None
    except Exception as error:  # each version of the library has another HTTP client, with errors of its own
        reason = _without_secrets(str(error), endpoint) or type(error).__name__
        raise MachineError(
            f"the push to {server} failed: {reason}", f"check the network and HF_ENDPOINT; {again}"
        ) from None
    return f"{server.rstrip('/')}/{repo} ({seen})"


def _without_secrets(text: str, endpoint: str) -> str:
    """The beginning of a server's or a library's words, in one line, without the token and the server's password."""
    from huggingface_hub import get_token

    secrets = {get_token() or "", os.environ.get("HF_TOKEN", "").strip()}
    if found := USERINFO.match(endpoint):
        user, _, password = found[2].partition(":")
        basic = base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()  # as it is sent
        secrets |= {found[2], password, unquote(password), basic}
    for secret in sorted(secrets - {""}, key=len, reverse=True):
        text = text.replace(secret, "…")
    return " ".join(text.split())[:200]

"""How the sites of datasets let their users in, without a password or token on a command line or in a file of ours."""

from __future__ import annotations

import getpass
import os
import sys
from dataclasses import dataclass, field

from medtrain.core.errors import InputError


@dataclass(frozen=True)
class Credentials:
    """What to send to a site, and what to do where it refuses. A login that is None is looked for in ~/.netrc."""

    headers: dict[str, str] = field(default_factory=dict, repr=False)
    login: tuple[str, str] | None = field(default=None, repr=False)
    refused: str = "look at the page of the dataset: what does it ask of its users?"


OPEN = Credentials()


def physionet(site: str, page: str) -> Credentials:
    """The login of a PhysioNet user: PHYSIONET_USER and PHYSIONET_PASSWORD, ~/.netrc, or asked for at a terminal."""
    from requests.utils import get_netrc_auth

    refused = f"is the password right, your account credentialed and the agreement of {page} signed?"
    user, password = os.environ.get("PHYSIONET_USER", ""), os.environ.get("PHYSIONET_PASSWORD", "")
    if user and password:
        return Credentials(login=(user, password), refused=refused)
    if get_netrc_auth(site):
        return Credentials(refused=f"{refused}   (the login is that of ~/.netrc)")
    if not sys.stdin.isatty():
        raise InputError(
            "PhysioNet asks for a user and a password",
            "set PHYSIONET_USER and PHYSIONET_PASSWORD, or write `machine physionet.org login USER password PASSWORD`"
            " into ~/.netrc (chmod 600)",
        )
    user = user or input("PhysioNet user: ")
    return Credentials(login=(user, getpass.getpass("PhysioNet password: ")), refused=refused)


def hugging_face(page: str) -> Credentials:
    """The token of a Hugging Face user: HF_TOKEN, or what `hf auth login` keeps."""
    from huggingface_hub import get_token

    token = get_token()
    if not token:
        raise InputError("Hugging Face asks for a token", "set HF_TOKEN, or log in once: hf auth login")
    return Credentials(
        {"Authorization": f"Bearer {token}"}, refused=f"accept the agreement of {page} with this token's user"
    )

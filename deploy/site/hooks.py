# SPDX-License-Identifier: Apache-2.0
"""Of mkdocs: a link from docs/ to a file elsewhere in the sources shows that file's path, since the site has
no such page. Links inside docs/ stay, and `mkdocs build --strict` refuses those that lead nowhere."""
import posixpath
import re


def on_page_markdown(markdown, page, **_):
    here = posixpath.dirname(page.file.src_uri)

    def plain(match):
        path = posixpath.normpath(posixpath.join(here, match[2]))
        return f"{match[1]} (`{path[3:]}`)" if path.startswith("../") else match[0]

    return re.sub(r"\[([^\]]+)\]\((\.\./[^)#]+)\)", plain, markdown)

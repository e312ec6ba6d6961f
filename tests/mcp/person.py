"""A person with a browser: opens an authorisation request, signs in, ticks and agrees.

person.py URL NAME PASSWORD SCOPE...
"""

import html
import http.cookiejar
import re
import sys
import urllib.parse
import urllib.request

url, name, password, *scopes = sys.argv[1:]
parts = urllib.parse.urlsplit(url)
origin = f"{parts.scheme}://{parts.netloc}"
opener = urllib.request.build_opener(
    urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
)


def field(page: str, key: str) -> str:
    found = re.search(f'name="{key}" value="([^"]*)"', page)
    assert found, f"no {key} in {page}"
    return html.unescape(found.group(1))


def send(path: str, pairs: list[tuple[str, str]]) -> str:
    body = urllib.parse.urlencode(pairs).encode()
    request = urllib.request.Request(origin + path, data=body, headers={"Origin": origin})
    return opener.open(request, timeout=20).read().decode()


page = opener.open(url, timeout=20).read().decode()
page = send("/sign-in", [("name", name), ("password", password), ("next", field(page, "next"))])
choices = [("decision", "allow"), ("machines", "all"), ("mode", "edit"), ("lifetime", "day")]
ticks = [("scope", scope) for scope in scopes]
hidden = [(key, field(page, key)) for key in ("csrf", "request")]
print(send("/authorize", hidden + ticks + choices))

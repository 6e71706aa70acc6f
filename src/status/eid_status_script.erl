%% @doc The status page's script: it fetches the page every other second and changes what has changed, so that
%% scroll position, focus, selections and what is folded open stay as they are. Without it, the page reloads itself.
-module(eid_status_script).

-export([text/0, hash/0]).

%% @doc The SHA-256 of {@link text/0}; see {@link eid_status_style:hash/0}.
-spec hash() -> string().
hash() -> "ODcmKRzxN9V9skvZMAbppyLFOt2ZSGZQSKlq5tyu+2c=".

%% @doc The script.
-spec text() -> string().
text() ->
    "'use strict';\n"
    "const pause = 2000, patience = 5000;\n"
    "const lost = document.getElementById('lost');\n"
    "let timer, since;\n"
    "\n"
    "// Makes one element like another. Elements with an id are the same wherever they stand.\n"
    "function become(old, next) {\n"
    "  for (const { name } of [...old.attributes])\n"
    "    if (name !== 'open' && !next.hasAttribute(name)) old.removeAttribute(name);\n"
    "  for (const { name, value } of next.attributes)\n"
    "    if (old.getAttribute(name) !== value) old.setAttribute(name, value);\n"
    "  const known = new Map(), wanted = new Set([...next.children].map(child => child.id));\n"
    "  for (const child of [...old.children])\n"
    "    if (child.id) wanted.has(child.id) ? known.set(child.id, child) : child.remove();\n"
    "  let at = old.firstChild;\n"
    "  for (const child of next.childNodes) {\n"
    "    const twin = child.id ? known.get(child.id) : at && !at.id && at.nodeName === child.nodeName ? at : undefined;\n"
    "    if (!twin) { old.insertBefore(document.importNode(child, true), at); continue; }\n"
    "    if (twin === at) at = at.nextSibling; else old.insertBefore(twin, at);\n"
    "    if (twin.nodeType === Node.ELEMENT_NODE) become(twin, child);\n"
    "    else if (twin.nodeValue !== child.nodeValue) twin.nodeValue = child.nodeValue;\n"
    "  }\n"
    "  while (at) { const gone = at; at = at.nextSibling; gone.remove(); }\n"
    "}\n"
    "\n"
    "async function refresh() {\n"
    "  clearTimeout(timer);\n"
    "  const began = new Date(), stop = new AbortController(), alarm = setTimeout(() => stop.abort(), patience);\n"
    "  try {\n"
    "    const answer = await fetch(location.pathname, { cache: 'no-store', signal: stop.signal });\n"
    "    if (!answer.ok) throw new Error(answer.status);\n"
    "    const page = new DOMParser().parseFromString(await answer.text(), 'text/html');\n"
    "    become(document.querySelector('main'), page.querySelector('main'));\n"
    "    document.title = page.title;\n"
    "    since = undefined;\n"
    "    lost.hidden = true;\n"
    "  } catch {\n"
    "    if (!since) {\n"
    "      since = began;\n"
    "      lost.textContent = 'Not answering since ' + since.toLocaleTimeString([], { hourCycle: 'h23' });\n"
    "      lost.hidden = false;\n"
    "    }\n"
    "  }\n"
    "  clearTimeout(alarm);\n"
    "  timer = setTimeout(refresh, pause);\n"
    "}\n"
    "\n"
    "timer = setTimeout(refresh, pause);\n".

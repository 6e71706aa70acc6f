// The status page fetches itself every other second and changes only what differs. So scroll position,
// focus, selections and open details stay. Without this script the page reloads itself.
'use strict';
const pause = 2000, patience = 5000;
const lost = document.getElementById('lost');
let timer, since;

// Makes one element like another. Elements with the same id are the same element, in any place.
function become(old, next) {
  for (const { name } of [...old.attributes])
    if (name !== 'open' && !next.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of next.attributes)
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const known = new Map(), wanted = new Set([...next.children].map(child => child.id));
  for (const child of [...old.children])
    if (child.id) wanted.has(child.id) ? known.set(child.id, child) : child.remove();
  let at = old.firstChild;
  for (const child of next.childNodes) {
    const twin = child.id ? known.get(child.id) : at && !at.id && at.nodeName === child.nodeName ? at : undefined;
    if (!twin) { old.insertBefore(document.importNode(child, true), at); continue; }
    if (twin === at) at = at.nextSibling; else old.insertBefore(twin, at);
    if (twin.nodeType === Node.ELEMENT_NODE) become(twin, child);
    else if (twin.nodeValue !== child.nodeValue) twin.nodeValue = child.nodeValue;
  }
  while (at) { const gone = at; at = at.nextSibling; gone.remove(); }
}

async function refresh() {
  clearTimeout(timer);
  const began = new Date(), stop = new AbortController(), alarm = setTimeout(() => stop.abort(), patience);
  try {
    const answer = await fetch(location.pathname, { cache: 'no-store', signal: stop.signal });
    if (!answer.ok) throw new Error(answer.status);
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
    become(document.querySelector('main'), page.querySelector('main'));
    document.title = page.title;
    since = undefined;
    lost.hidden = true;
  } catch {
    if (!since) {
      since = began;
      lost.textContent = 'Not answering since ' + since.toLocaleTimeString([], { hourCycle: 'h23' });
      lost.hidden = false;
    }
  }
  clearTimeout(alarm);
  timer = setTimeout(refresh, pause);
}

timer = setTimeout(refresh, pause);

"use strict";
// Looks at the page again and again, and puts what has changed in its place: what is open, focused or scrolled to stays.
(() => {
  const main = document.getElementById("main");
  const offline = document.getElementById("offline");
  const pause = document.getElementById("pause");
  const every = Number(pause.dataset.every) * 1000;
  const patience = 10000;
  let timer = 0;
  let paused = false;
  let seen = new Date();

  // What the reader has set, or is typing, is not taken back.
  const kept = (node, name) => (node.nodeName === "DETAILS" && name === "open") || (node.nodeName === "INPUT" && name === "value");

  // What tells an element from its neighbours, so that it is moved rather than made into another.
  const key = (node) => node.id || node.dataset?.key || node.getAttribute?.("aria-labelledby") || "";
  const alike = (one, other) => one.nodeType === other.nodeType && one.nodeName === other.nodeName && key(one) === key(other);

  function attributes(old, fresh) {
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && !kept(old, name)) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value && !kept(old, name)) old.setAttribute(name, value);
  }

  function children(old, fresh) {
    const named = new Map([...old.children].filter(key).map((node) => [key(node), node]));
    let place = old.firstChild;
    for (const wanted of [...fresh.childNodes]) {
      const found = key(wanted) ? named.get(key(wanted)) : place;
      if (found && alike(found, wanted)) {
        if (found === place) place = place.nextSibling;
        else old.insertBefore(found, place);
        update(found, wanted);
      } else old.insertBefore(document.importNode(wanted, true), place);
    }
    while (place) {
      const next = place.nextSibling;
      place.remove();
      place = next;
    }
  }

  function update(old, fresh) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    attributes(old, fresh);
    children(old, fresh);
  }

  function show(page) {
    const focused = document.activeElement;
    update(main, page.getElementById("main"));
    document.title = page.title;
    document.querySelector("link[rel=icon]").href = page.querySelector("link[rel=icon]").href;
    // An element that was moved has lost the focus; one that is gone leaves it to what held it.
    if (focused !== document.activeElement) (focused.isConnected ? focused : main).focus({ preventScroll: true });
  }

  async function look() {
    const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(patience) });
    // 404 is what the page of an agent that is polled no more says.
    if (!answer.ok && answer.status !== 404) throw new Error(`it answers HTTP ${answer.status}`);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!page.getElementById("main")) throw new Error("something else answers in its place");
    if (page.querySelector("style").textContent !== document.querySelector("style").textContent) return location.reload();
    show(page);
  }

  async function refresh() {
    clearTimeout(timer);
    if (paused || document.hidden) return;
    try {
      await look();
      seen = new Date();
      offline.hidden = true;
    } catch (error) {
      const why = error instanceof TypeError || error.name === "TimeoutError" ? "it does not answer" : error.message;
      const words = `This page is not up to date. The exporter cannot be asked (${why}). What is shown is from ${seen.toLocaleTimeString()}.`;
      if (offline.textContent !== words) offline.textContent = words;
      offline.hidden = false;
    }
    clearTimeout(timer);
    timer = setTimeout(refresh, every);
  }

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Refresh again" : "Pause refreshing";
    refresh();
  });
  document.addEventListener("visibilitychange", refresh);
  timer = setTimeout(refresh, every);
})();

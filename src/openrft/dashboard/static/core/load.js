// @ts-check
/**
 * What a component shows that has to be asked for.
 *
 *     const files = useLoad(() => get("/v1/files"), []);
 *     if (files.error) return html`<${Problem} error=${files.error} retry=${files.again} />`;
 *     if (!files.data) return html`<${Busy} />`;
 */
import { useCallback, useEffect, useRef, useState } from "preact/hooks";

/**
 * @template T
 * @param {(signal: AbortSignal) => Promise<T>} ask
 * @param {any[]} keys asked again when one of them changes; what was shown stays until the answer is there
 * @param {{every?: number}} [options] milliseconds after which it is asked again, while the page is seen
 * @returns {{data: T|null, error: any, isLoading: boolean, again: () => void}}
 */
export function useLoad(ask, keys, { every = 0 } = {}) {
  const [state, setState] = useState(/** @type {any} */ ({ data: null, error: null, isLoading: true }));
  const [round, setRound] = useState(0);
  const shown = useRef(JSON.stringify(keys));
  const again = useCallback(() => setRound((one) => one + 1), []);
  useEffect(() => {
    const key = JSON.stringify(keys);
    const abort = new AbortController();
    /** @type {any} */
    let timer;
    const isOther = shown.current !== key;
    shown.current = key;
    setState((/** @type {any} */ old) => ({ data: isOther ? null : old.data, error: null, isLoading: true }));
    const run = async () => {
      try {
        if (!document.hidden || !every) {
          const data = await ask(abort.signal);
          if (!abort.signal.aborted) setState({ data, error: null, isLoading: false });
        }
      } catch (error) {
        if (abort.signal.aborted) return;
        setState((/** @type {any} */ old) => ({ data: old.data, error, isLoading: false }));
      }
      if (every && !abort.signal.aborted) timer = setTimeout(run, every);
    };
    run();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [...keys, round]);
  return { ...state, again };
}

// @ts-check
/**
 * A table of any length: only the rows in view are in the page once there are more than 200.
 *
 *     <Table label="Files" rows=${files} key=${(f) => f.id} columns=${[
 *       {title: "Name", cell: (f) => f.filename}, {title: "Size", cell: (f) => bytes(f.bytes), isNumber: true}]} />
 */
import { useEffect, useRef, useState } from "preact/hooks";
import { html } from "../core/html.js";

const MOST_WHOLE = 200;
const BEYOND = 12; // rows above and below what is seen

/**
 * @typedef {Object} Column
 * @property {any} title
 * @property {(row: any, index: number) => any} cell
 * @property {boolean} [isNumber] right, with digits of equal width
 * @property {string} [sort] name by which `onSort` is told
 * @property {boolean} [isHead] heads its row
 * @property {string} [className]
 */

/**
 * @param {{label: string, columns: Column[], rows: any[], rowKey?: (row: any, index: number) => any, rowHeight?: number,
 *   height?: number, sorted?: string, onSort?: (name: string) => void, rowProps?: (row: any) => any}} props
 *   `rowHeight` and `height` in pixels: of a row, and of the window onto a long table
 */
export function Table({ label, columns, rows, rowKey = (_, index) => index, rowHeight = 40, height = 560, sorted, onSort, rowProps }) {
  const box = useRef(/** @type {HTMLDivElement|null} */ (null));
  const [top, setTop] = useState(0);
  const isLong = rows.length > MOST_WHOLE;
  useEffect(() => {
    if (box.current) box.current.scrollTop = 0;
    setTop(0);
  }, [sorted]);
  const first = isLong ? Math.max(0, Math.floor(top / rowHeight) - BEYOND) : 0;
  const last = isLong ? Math.min(rows.length, Math.ceil((top + height) / rowHeight) + BEYOND) : rows.length;
  return html`<div class="table-box ${isLong ? "long" : ""}" ref=${box} tabindex="0" role="region" aria-label=${label}
      style=${isLong ? { maxHeight: `${height}px` } : {}} onScroll=${isLong ? (/** @type {any} */ e) => setTop(e.currentTarget.scrollTop) : null}>
    <table aria-rowcount=${rows.length + 1} data-rows=${rows.length}>
      <caption class="unseen">${label}</caption>
      <thead><tr>${columns.map((column) => html`<th scope="col" class=${kind(column)}
        aria-sort=${column.sort && sorted === column.sort ? "descending" : null}>
        ${column.sort && onSort ? html`<button type="button" class="sort" onClick=${() => onSort(column.sort ?? "")}>${column.title}</button>` : column.title}
      </th>`)}</tr></thead>
      <tbody>
        ${first > 0 && html`<tr aria-hidden="true" style=${{ height: `${first * rowHeight}px` }}></tr>`}
        ${rows.slice(first, last).map((row, place) => html`<tr key=${rowKey(row, first + place)} aria-rowindex=${first + place + 2}
            style=${isLong ? { height: `${rowHeight}px` } : {}} ...${rowProps?.(row) ?? {}}>
          ${columns.map((column) => column.isHead
            ? html`<th scope="row" class=${kind(column)}>${column.cell(row, first + place)}</th>`
            : html`<td class=${kind(column)}>${column.cell(row, first + place)}</td>`)}
        </tr>`)}
        ${last < rows.length && html`<tr aria-hidden="true" style=${{ height: `${(rows.length - last) * rowHeight}px` }}></tr>`}
      </tbody>
    </table>
  </div>`;
}

/** @param {Column} column */
const kind = (column) => [column.isNumber ? "number" : "", column.className ?? ""].join(" ").trim() || null;

# Compares what the heads of the tests say with what was found, and makes the table. Read in this order: docs/models.md,
# the verdicts of each model, the list of twins, the tests.

# What loom says of a model of that name: it passes, or it must be found.
function loom(name) {
  if (name == "" || name == "none") return "-"
  if (name "::right" in ledger) name = name "::right"
  else if (name !~ /::/) name = module "::" name
  if (!(name in ledger)) { wrong(test ": docs/models.md has no `" name "`"); return "?" }
  return ledger[name] " (`" name "`)"
}
function wrong(what) { print "WRONG: " what; failed = 1 }
function trim(text) { gsub(/^ +| +$/, "", text); return text }
function row(site, change,   said, name, found) {
  name = site == "ships" ? test : test "+" site "+" to_of[test, site, change]
  found = "rc11 " rc11[name] ", c11 " c11[name]
  if (!(name in rc11) || !(name in c11)) { wrong(name ": herd7 said nothing"); return }
  if (!((site, change) in stated)) { wrong(test ": no line `" site (change ? " " change : "") ": " found "`"); return }
  said = stated[site, change]
  if (said != found) wrong(test ": " site " " change ": stated " said ", found " found)
  if (site != "ships" && rc11[name] == "forbidden" && !((site, change) in reason))
    wrong(test ": " site " " change ": forbidden all the same, and no reason stated")
  seen[site, change] = 1
  rows = rows "| `" test "` | " (site == "ships" ? "as it is" : site " " change) " | " rc11[name] " | " c11[name] " | " \
    loom(by[site, change]) " | " reason[site, change] " |\n"
}
function finish(   i, key, parts) {
  if (test == "") return
  for (key in reason) if (!(key in stated)) wrong(test ": a reason for nothing")
  if (kind == "edge" && stated["ships", ""] !~ /rc11 forbidden/) wrong(test ": an edge is forbidden in RC11")
  if (kind == "control" && stated["ships", ""] ~ /forbidden/) wrong(test ": a control is allowed")
  for (i = 1; i <= count[test]; i++) row(site_of[test, i], change_of[test, i])
  for (key in stated) if (!(key in seen)) { split(key, parts, SUBSEP); wrong(test ": states " parts[1] " " parts[2] ", which there is not") }
  about = about "| `" test "` | " (kind == "edge" ? "" : kind ": ") place " | " what " | " bad " |\n"
  tests++
}
FNR == 1 { file++ }
file == 1 && /^## Must pass/ { kept = "forbidden" }
file == 1 && /^## Must be found/ { kept = "allowed" }
file == 1 && /^\| `/ { split($0, cell, "`"); ledger[cell[2]] = kept }
file == 2 { rc11[$1] = $2 }
file == 3 { c11[$1] = $2 }
file == 4 {
  site = $3; change = site == "ships" ? "" : $4 " -> " $5
  i = ++count[$2]; site_of[$2, i] = site; change_of[$2, i] = change; to_of[$2, site, change] = $5
}
file < 5 { next }
FNR == 1 {
  finish()
  split($0, cell, " "); test = cell[2]
  split("", stated); split("", reason); split("", by); split("", seen); kind = place = what = bad = ""
}
/^(edge|other|control): / { kind = $0; sub(/:.*/, "", kind); place = $0; sub(/^[a-z]+: /, "", place) }
/^what: / { what = substr($0, 7) }
/^bad: / { bad = substr($0, 6) }
/^loom: / { by["ships", ""] = module = substr($0, 7) }
/^ships: |^P[0-9]+\.[0-9]+ / {
  text = $0; why = ""
  if (i = index(text, " -- ")) { why = substr(text, i + 4); text = substr(text, 1, i - 1) }
  i = index(text, ": ")
  key = substr(text, 1, i - 1); said = substr(text, i + 2)
  site = key; sub(/ .*/, "", site); change = trim(substr(key, length(site) + 1))
  if (i = index(said, ", loom ")) { by[site, change] = substr(said, i + 7); said = substr(said, 1, i - 1) }
  stated[site, change] = said
  if (why != "") reason[site, change] = why
}
END {
  finish()
  if (failed) exit 1
  printf "## The tests\n\n%d tests.\n\n| test | of | what | the outcome |\n|---|---|---|---|\n%s\n", tests, about
  printf "## Verdicts\n\n| test | orderings | RC11 | C11 | loom | why |\n|---|---|---|---|---|---|\n%s", rows
}

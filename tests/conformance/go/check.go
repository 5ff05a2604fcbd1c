// Command check verifies a published log with golang.org/x/mod/sumdb alone: the note's signature, the root,
// inclusion and consistency computed from the log's tiles, and proofs that the log computed itself.
//
// usage: check FOLDER VKEY [record:INDEX:TLOG_PROOF | tree:CHECKPOINT:HASHES]...
package main

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type tiles struct{ folder string }

func (t tiles) Height() int { return 8 }

func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range wanted {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		raw, err := os.ReadFile(filepath.Join(t.folder, path))
		if err != nil {
			return nil, err
		}
		found = append(found, raw)
	}
	return found, nil
}

func require(err error, what string) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		os.Exit(1)
	}
}

func read(path string) []byte {
	raw, err := os.ReadFile(path)
	require(err, "reading")
	return raw
}

func open(path string, verifier note.Verifier) tlog.Tree {
	opened, err := note.Open(read(path), note.VerifierList(verifier))
	require(err, "note")
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		require(fmt.Errorf("%q", opened.Text), "checkpoint")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	require(err, "size")
	root, err := tlog.ParseHash(lines[2])
	require(err, "root")
	return tlog.Tree{N: size, Hash: root}
}

func entry(folder string, size, index int64) []byte {
	bundle := tlog.Tile{H: 8, L: 0, N: index >> 8, W: 256}
	if rest := size - bundle.N<<8; rest < 256 {
		bundle.W = int(rest)
	}
	path := strings.Replace(bundle.Path(), "tile/8/0/", "tile/entries/", 1)
	raw := read(filepath.Join(folder, path))
	for skip := index & 255; skip > 0; skip-- {
		raw = raw[2+binary.BigEndian.Uint16(raw):]
	}
	return raw[2 : 2+binary.BigEndian.Uint16(raw)]
}

func hashes(text string) []tlog.Hash {
	var found []tlog.Hash
	for _, line := range strings.Fields(text) {
		raw, err := base64.StdEncoding.DecodeString(line)
		require(err, "base64")
		var hash tlog.Hash
		copy(hash[:], raw)
		found = append(found, hash)
	}
	return found
}

func main() {
	folder := os.Args[1]
	verifier, err := note.NewVerifier(strings.TrimSpace(string(read(os.Args[2]))))
	require(err, "vkey")
	head := open(filepath.Join(folder, "checkpoint"), verifier)
	reader := tlog.TileHashReader(head, tiles{folder})
	if head.N > 0 {
		root, err := tlog.TreeHash(head.N, reader)
		require(err, "root from tiles")
		if root != head.Hash {
			require(fmt.Errorf("%v is not %v", root, head.Hash), "root from tiles")
		}
	}
	for _, argument := range os.Args[3:] {
		words := strings.SplitN(argument, ":", 3)
		if words[0] == "record" {
			index, err := strconv.ParseInt(words[1], 10, 64)
			require(err, "index")
			record := tlog.RecordHash(entry(folder, head.N, index))
			proof, err := tlog.ProveRecord(head.N, index, reader)
			require(err, "inclusion from tiles")
			require(tlog.CheckRecord(proof, head.N, head.Hash, index, record), "inclusion from tiles")
			file := strings.SplitN(string(read(words[2])), "\n\n", 2)[0]
			stated := hashes(strings.SplitN(file+"\n", fmt.Sprintf("index %d\n", index), 2)[1])
			require(tlog.CheckRecord(stated, head.N, head.Hash, index, record), "inclusion as stated")
		} else {
			kept := open(words[1], verifier)
			proof, err := tlog.ProveTree(head.N, kept.N, reader)
			require(err, "consistency from tiles")
			require(tlog.CheckTree(proof, head.N, head.Hash, kept.N, kept.Hash), "consistency from tiles")
			stated := hashes(string(read(words[2])))
			require(tlog.CheckTree(stated, head.N, head.Hash, kept.N, kept.Hash), "consistency as stated")
		}
	}
	fmt.Println("ok", head.N)
}

// Writes a bbolt file for tests, one transaction for each line of JSON on its input, and says "ok" after each.
//
//	{"put": {"KEY": "BASE64", ...}, "delete": ["KEY", ...], "drop": true, "sub": "NAME"}
//
// With "storm": N it commits N transactions that all move "a" and "b" to the same number, and says "ok" before.
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"

	bolt "go.etcd.io/bbolt"
)

type order struct {
	Put    map[string]string `json:"put"`
	Delete []string          `json:"delete"`
	Drop   bool              `json:"drop"`
	Sub    string            `json:"sub"`
	Storm  int               `json:"storm"`
}

var bucket = []byte("traefik")
var counter uint64

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// counted is a value as v1's library writes it: behind a counter of 8 bytes.
func counted(payload []byte) []byte {
	counter++
	value := make([]byte, 8, 8+len(payload))
	binary.LittleEndian.PutUint64(value, counter)
	return append(value, payload...)
}

func obey(tx *bolt.Tx, wanted order) error {
	if wanted.Drop && tx.Bucket(bucket) != nil {
		if err := tx.DeleteBucket(bucket); err != nil {
			return err
		}
	}
	b, err := tx.CreateBucketIfNotExists(bucket)
	if err != nil {
		return err
	}
	if wanted.Sub != "" {
		if _, err := b.CreateBucketIfNotExists([]byte(wanted.Sub)); err != nil {
			return err
		}
	}
	for _, key := range wanted.Delete {
		if err := b.Delete([]byte(key)); err != nil {
			return err
		}
	}
	for key, encoded := range wanted.Put {
		payload, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return err
		}
		if err := b.Put([]byte(key), counted(payload)); err != nil {
			return err
		}
	}
	return nil
}

func storm(db *bolt.DB, rounds int) {
	for round := 0; round < rounds; round++ {
		check(db.Update(func(tx *bolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists(bucket)
			if err != nil {
				return err
			}
			for _, key := range []string{"traefik/a", "traefik/m", "traefik/z"} {
				// Large and of changing size: the keys lie on pages far apart, which are freed all the time.
				value := make([]byte, 5000+(round%7)*3000)
				copy(value, fmt.Sprintf("%09d", round))
				if err := b.Put([]byte(key), counted(value)); err != nil {
					return err
				}
			}
			return nil
		}))
	}
}

func main() {
	db, err := bolt.Open(os.Args[1], 0600, nil)
	check(err)
	db.NoSync = true
	input := bufio.NewReaderSize(os.Stdin, 1<<20)
	decoder := json.NewDecoder(input)
	for {
		var wanted order
		if err := decoder.Decode(&wanted); err != nil {
			break
		}
		if wanted.Storm > 0 {
			fmt.Println("ok")
			storm(db, wanted.Storm)
		} else {
			check(db.Update(func(tx *bolt.Tx) error { return obey(tx, wanted) }))
		}
		fmt.Println("ok")
	}
	check(db.Close())
}
